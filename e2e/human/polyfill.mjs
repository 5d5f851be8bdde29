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

// Standard output carries the protocol, and the SDK logs through console: DEBUG=1 shows it on standard error.
for (const level of ["debug", "info", "log", "warn", "error", "trace"]) {
  console[level] = process.env.DEBUG ? (...args) => process.stderr.write(args.map(String).join(" ") + "\n") : () => {};
}
