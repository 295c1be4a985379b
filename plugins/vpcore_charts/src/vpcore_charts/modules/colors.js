// Two scales that colour-blind readers can tell apart: blue to orange around the paper, and one dark to bright.
const DIVERGING = { light: ["#0b3c7d", "#5f9bd1", "#f7f8f9", "#e39a52", "#7a2f04"], dark: ["#8cc6ff", "#2f6ea8", "#10161d", "#b0662a", "#ffc48a"] };
const SEQUENTIAL = { light: ["#f7f8f9", "#cddbe6", "#83abc6", "#3c6f99", "#0c2e57"], dark: ["#10161d", "#20405e", "#3f7c96", "#9bbf95", "#fbf3b0"] };
export const N = 256;

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

export function rgba(hex, alpha = 255) {
  const [r, g, b] = channels(hex);
  return (alpha << 24 | b << 16 | g << 8 | r) >>> 0;
}

// 256 colours as little-endian RGBA words.
export function scale(kind, dark = isDark()) {
  const stops = (kind === "diverging" ? DIVERGING : SEQUENTIAL)[dark ? "dark" : "light"].map(channels);
  const words = new Uint32Array(N);
  for (let i = 0; i < N; i++) {
    const at = i / (N - 1) * (stops.length - 1), j = Math.min(Math.floor(at), stops.length - 2), part = at - j;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[j][c] + (stops[j + 1][c] - stops[j][c]) * part));
    words[i] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }
  return words;
}
