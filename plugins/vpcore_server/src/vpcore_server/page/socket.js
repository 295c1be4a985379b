// The worker owns the socket: it connects, resumes, and acknowledges what the page has drawn.
const ACK_MS = 100; // a client may send 20 frames per second
const FINAL = new Set([4400, 4401, 4403, 4404, 4409, 4410, 4500]);
let target = null, socket = null, session = null, since = null, drawn = -1, told = -1, pause = 1000, over = false, timer = 0;

function connect() {
  const protocols = ["vp1"];
  if (target.token) protocols.push("token." + target.token);
  socket = new WebSocket(target.url, protocols);
  socket.binaryType = "arraybuffer";
  const own = socket;
  socket.onopen = () => {
    told = -1;
    const start = { op: "start", profile: "view", mode: "latest", window: 256, last: target.last };
    if (since !== null) Object.assign(start, { since, session });
    own.send(JSON.stringify(start));
  };
  socket.onmessage = (event) => {
    if (own !== socket) return;
    pause = 1000;
    if (typeof event.data !== "string") {
      const size = event.data.byteLength;
      postMessage({ kind: "bins", data: event.data, at: Date.now(), size }, [event.data]);
      return;
    }
    const text = JSON.parse(event.data);
    if (text.type === "end") over = true;
    if (text.type === "hello") { over = false; if (text.session !== session) { drawn = told = -1; since = null; } session = text.session; }
    if (text.type === "error" && FINAL.has(text.code)) over = true;
    postMessage({ kind: "text", text });
  };
  socket.onclose = (event) => {
    if (own !== socket) return;
    postMessage({ kind: "closed", code: event.code, over });
    if (over || FINAL.has(event.code)) return;
    timer = setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(2 * pause, 30000);
  };
}

onmessage = (event) => {
  const message = event.data;
  if (message.kind === "open") {
    clearTimeout(timer);
    const old = socket;
    socket = null;
    if (old) old.close();
    target = message; session = since = null; drawn = told = -1; over = false; pause = 1000;
    connect();
  } else if (message.kind === "drawn") {
    drawn = since = message.bin;
  }
};

setInterval(() => {
  if (socket && socket.readyState === 1 && drawn > told) {
    told = drawn;
    socket.send(JSON.stringify({ op: "ack", bin: drawn }));
  }
}, ACK_MS);
