/** An array as the gateway sends it. */
export function file(header: object, data: ArrayBufferView): ArrayBuffer {
  let text = JSON.stringify(header);
  text += " ".repeat((8 - ((4 + text.length) % 8)) % 8);
  const out = new Uint8Array(4 + text.length + data.byteLength);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(new TextEncoder().encode(text), 4);
  out.set(new Uint8Array(data.buffer), 4 + text.length);
  return out.buffer;
}
