// The last ten minutes as the server sent them: one ring of records, read in place.
export const N_BINS = 6000;
const TYPES = { "<f4": Float32Array, "<f8": Float64Array, "<i4": Int32Array, "|i1": Int8Array, "|u1": Uint8Array, "<u4": Uint32Array, "<u2": Uint16Array };

export class Store {
  constructor(hello) {
    this.hello = hello;
    this.size = hello.record_bytes;
    this.cells = hello.n_cells;
    this.radius = (hello.n_cells - 1) / 2;
    this.tick = hello.tick_size;
    this.digits = decimals(hello.tick_size);
    this.raw = new ArrayBuffer(this.size * N_BINS);
    this.bytes = new Uint8Array(this.raw);
    this.view = new DataView(this.raw);
    this.seq = new Float64Array(N_BINS).fill(-1);
    this.ms = new Float64Array(N_BINS);
    this.fields = {};
    this.columns = [];
    for (const field of hello.layout) {
      const Type = TYPES[field.type];
      this.fields[field.name] = { ...field, array: Type ? new Type(this.raw) : null, bytes: Type ? Type.BYTES_PER_ELEMENT : 8 };
      if (field.shape.length === 1) this.columns.push(field.name);
    }
    this.last = -1;
    this.first = -1;
    this.skipped = 0;
    this.sent = 0;
    this.events = [];
    this.gaps = [];
    this.held = []; // positions with barriers: bin and level of the entry, side; the last bin of a finished one in `until`
  }

  // Add a frame of records and return the bins it held.
  add(buffer) {
    const incoming = new Uint8Array(buffer), head = new DataView(buffer), added = [];
    for (let at = 0; at + this.size <= buffer.byteLength; at += this.size) {
      const seq = Number(head.getBigInt64(at + 8, true));
      if (seq <= this.last && seq > this.last - N_BINS && this.seq[seq % N_BINS] === seq) continue;
      const slot = seq % N_BINS;
      this.bytes.set(incoming.subarray(at, at + this.size), slot * this.size);
      this.seq[slot] = seq;
      this.ms[slot] = Number(head.getBigInt64(at + 16, true) / 1000n) / 1000;
      this.skipped += head.getUint32(at + 4, true);
      if (this.first < 0) this.first = seq;
      this.sent = Number(head.getBigInt64(at + 24, true) / 1000n) / 1000;
      if (seq > this.last) this.last = seq;
      added.push(seq);
    }
    return added;
  }

  // The oldest bin that may be there.
  get oldest() { return Math.max(this.first, this.last - N_BINS + 1, 0); }
  has(seq) { return seq >= 0 && this.seq[seq % N_BINS] === seq; }

  get(seq, name) {
    const field = this.fields[name], at = (seq % N_BINS) * this.size + field.offset;
    return field.array[at / field.bytes];
  }

  cell(seq, name, index) {
    const field = this.fields[name], at = (seq % N_BINS) * this.size + field.offset;
    return field.array[at / field.bytes + index];
  }

  // Where a column of a bin begins in its array.
  place(seq, name) {
    const field = this.fields[name];
    return ((seq % N_BINS) * this.size + field.offset) / field.bytes;
  }

  valid(seq) { return (this.get(seq, "flags") & 1) === 1; }
  mid2(seq) { return this.get(seq, "bid") + this.get(seq, "ask"); }

  // The price level of a cell in ticks; null for the middle of an odd spread.
  level(mid2, k) {
    if (mid2 % 2 === 0) return mid2 / 2 + k;
    return k > 0 ? (mid2 - 1) / 2 + k : k < 0 ? (mid2 + 1) / 2 + k : null;
  }

  // The cell of a price level, as an index.
  index(mid2, level) {
    const d = 2 * level - mid2, k = Math.sign(d) * Math.ceil(Math.abs(d) / 2);
    return Math.abs(k) <= this.radius ? k + this.radius : -1;
  }

  price(level) { return (level * this.tick).toFixed(this.digits); }
}

export function decimals(tick) {
  let n = 0;
  while (n < 9 && Math.abs(tick * 10 ** n - Math.round(tick * 10 ** n)) > 1e-9) n++;
  return n;
}
