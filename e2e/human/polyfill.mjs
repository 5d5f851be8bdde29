// What matrix-js-sdk 43 expects of Node 22 and Node 18 and 20 (Debian 12 and 13) do not have. Imported before the SDK.
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor(type, options) {
    super(type, options);
    this.detail = options?.detail ?? null;
  }
};
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((yes, no) => { resolve = yes; reject = no; });
  return { promise, resolve, reject };
};
Promise.try ??= function (f, ...args) { return new this((resolve) => resolve(f(...args))); };
Array.fromAsync ??= async (items) => {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
};
Uint8Array.fromBase64 ??= (text) => new Uint8Array(Buffer.from(text, "base64"));
Uint8Array.prototype.toBase64 ??= function (options) {
  const text = Buffer.from(this).toString(options?.alphabet === "base64url" ? "base64url" : "base64");
  return options?.omitPadding ? text.replace(/=+$/, "") : text;
};

// Standard output carries the protocol, and the SDK logs through console. What goes wrong is told on standard error; with DEBUG=1,
// everything is.
const tell = (...args) => {
  const line = args.map(String).join(" ");
  if (process.env.DEBUG || !line.includes("push rule")) process.stderr.write(`${new Date().toISOString()} ${line}\n`);
};
for (const level of ["debug", "info", "log", "trace"]) console[level] = process.env.DEBUG ? tell : () => {};
for (const level of ["warn", "error"]) console[level] = tell;
