// Signal's mock server, made to speak with signal-cli 0.13.19. The server was written for Signal Desktop; what signal-cli does
// otherwise is met here, each difference by itself. Nothing of signal-cli is changed but where it calls and whom it trusts.
import { createRequire } from "node:module";
import { EventEmitter } from "node:events";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

const installed = process.argv[2]; // the folder that e2e/signal/install made
if (!installed) throw new Error("usage: node phones.mjs FOLDER");
const need = createRequire(path.resolve(installed, "node_modules", "@signalapp", "mock-server", "package.json"));

export const { signalservice: proto } = need("./protos/compiled");
export const signal = need("@signalapp/libsignal-client");
export const zkgroup = need("@signalapp/libsignal-client/zkgroup");
export const Long = need("long");
export const { encryptAttachment } = need("./src/crypto");
export const { Group } = need("./src/api/group");
export const { ServiceIdKind } = need("./src/types");
const util = need("./src/util");

// faults are answers that the server gives in place of its own: {verb, path, status, headers, body, left}.
export const faults = [];

// The mock knows service ids in their binary form only, signal-cli 0.13.19 the older strings: both are sent.
const uuid = (raw) => Buffer.from(raw).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
const serviceId = (raw) => signal.ServiceId.parseFromServiceIdBinary(Buffer.from(raw)).getServiceIdString();
function withStrings(type, fields) {
  const encode = type.encode;
  type.encode = function (message, writer) {
    const w = encode.call(type, message, writer);
    for (const [binary, tag, text] of fields) {
      if (message[binary]?.length) w.uint32((tag << 3) | 2).string(text(message[binary]));
    }
    return w;
  };
}
withStrings(proto.Envelope, [["sourceServiceIdBinary", 11, serviceId], ["destinationServiceIdBinary", 13, serviceId], ["updatedPniBinary", 15, uuid]]);
withStrings(proto.ProvisionMessage, [["aciBinary", 8, uuid], ["pniBinary", 10, uuid]]);
withStrings(proto.ContactDetails, [["aciBinary", 9, uuid]]);
withStrings(proto.BodyRange, [["mentionAciBinary", 3, uuid]]);
withStrings(proto.DataMessage.Quote, [["authorAciBinary", 5, uuid]]);
withStrings(proto.DataMessage.Reaction, [["targetAuthorAciBinary", 4, uuid]]);
withStrings(proto.SyncMessage.Sent, [["destinationServiceIdBinary", 7, serviceId]]);
withStrings(proto.SyncMessage.Read, [["senderAciBinary", 3, uuid]]);
const encodeEnvelope = proto.Envelope.encode;
proto.Envelope.encode = function (message, writer) { // signal-cli refuses an envelope without
  const w = encodeEnvelope.call(proto.Envelope, message, writer);
  if (!message.serverGuid) w.uint32((9 << 3) | 2).string(randomUUID());
  return w;
};
const decodeContent = proto.Content.decode;
proto.Content.decode = function (reader, length) { // and what signal-cli sends as strings can be read from raw
  const message = decodeContent.call(proto.Content, reader, length);
  if (reader instanceof Uint8Array) message.raw = Buffer.from(reader);
  return message;
};

// signal-cli asks some things by plain HTTPS that the mock answers on its websocket only.
const http = need("./src/server/http");
const createHandler = http.createHandler;
class NoSocket extends EventEmitter {
  send() {}
  close() {}
}
http.createHandler = (server, config) => {
  const handler = createHandler(server, config);
  return async (req, res) => {
    req.url = req.url.replace(/(\/v[12]\/groups)\/(?=\?|$)/, "$1").replace(/(\/v1\/storage)(?=\?|$)/, "$1/");
    const stored = req.method === "GET" && /^\/attachments\/([^?]+)/.exec(req.url);
    if (stored && !(await server.fetchAttachment(stored[1]))) req.url = `/cdn3${req.url}`; // clients' own uploads lie there
    if (/^\/cdn3\/attachments\//.test(req.url) && ["POST", "HEAD", "PATCH"].includes(req.method)) {
      return upload(config.cdn3Path, req, res);
    }
    if (/^\/(storageService|cdn3|attachments|stickers|updates2)\b/.test(req.url)) {
      return handler(req, res); // what it returns is sent
    }
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const connection = extended(new Connection(req, new NoSocket(), server));
    const { username, password } = util.parseAuthHeader(req.headers.authorization, { allowEmptyPassword: true });
    if (username) connection.device = await server.auth(username, password ?? "");
    const answer = await connection.router.run({
      verb: req.method, path: req.url, body: Buffer.concat(chunks), headers: Object.entries(req.headers).map(([key, value]) => `${key}: ${value}`),
    });
    for (const header of answer.headers) {
      const colon = header.indexOf(":");
      res.setHeader(header.slice(0, colon), header.slice(colon + 1));
    }
    res.statusCode = answer.status;
    res.end(answer.body);
    return undefined;
  };
};

// upload takes an attachment as tus does; the mock's own does not let a client go on with one.
async function upload(folder, req, res) {
  const file = attachmentFile(folder, path.basename(req.url));
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const parts = [];
  for await (const chunk of req) parts.push(chunk);
  if (req.method === "POST") {
    fs.writeFileSync(file, Buffer.concat(parts));
    res.setHeader("Location", `https://${req.headers.host}${req.url}`);
    res.statusCode = 201;
  } else if (!fs.existsSync(file)) {
    res.statusCode = 404;
  } else if (req.method === "PATCH") {
    fs.appendFileSync(file, Buffer.concat(parts));
    res.statusCode = 204;
  }
  if (fs.existsSync(file)) res.setHeader("Upload-Offset", fs.statSync(file).size);
  res.setHeader("Tus-Resumable", "1.0.0");
  res.end();
}
export const attachmentFile = (folder, key) => path.join(folder, "attachments", key);

// Requests that signal-cli makes and the mock does not know, faults, and small differences in form.
function extended(connection) {
  const { server, router } = connection;
  const signedIn = (answer) => async () => (connection.device ? answer() : [401, {}]);
  router.register("PUT", "/v1/accounts/attributes", signedIn(() => [204, {}]));
  router.register("PUT", "/v1/accounts/name", signedIn(() => [204, {}]));
  router.register("POST", "/v2/keys/check", signedIn(() => [200, {}]));
  router.register("PUT", "/v1/profile", signedIn(() => [200, {}]));
  router.register("PUT", "/v1/challenge", signedIn(() => [200, {}])); // a solved captcha
  router.register("GET", "/v1/devices", signedIn(() => [200, {
    devices: (server.devices.get(connection.device.number) ?? []).map((device) => (
      { id: device.deviceId, name: null, created: 0, lastSeen: 0, registrationId: device.registrationId })),
  }]));
  const run = router.run.bind(router);
  router.run = async (request) => {
    const fault = faults.find((f) => f.left > 0 && f.verb === request.verb && new RegExp(f.path).test(request.path));
    if (fault) {
      fault.left--;
      fault.met();
      const headers = ["Content-Type:application/json", `X-Signal-Timestamp:${Date.now()}`, ...(fault.headers ?? [])];
      return { status: fault.status, headers, body: Buffer.from(JSON.stringify(fault.body ?? {})) };
    }
    if (request.body?.[0] === "{".charCodeAt()) request.body = withoutNulls(request.body);
    const answer = await run(request);
    const profile = answer.status === 200 && request.verb === "GET" && /^\/v1\/profile\/(?:PNI:)?([0-9a-f-]{36})/.exec(request.path);
    if (profile) answer.body = Buffer.from(JSON.stringify({ uuid: profile[1], ...JSON.parse(answer.body.toString()) }));
    if (answer.status >= 400) process.stderr.write(`${request.verb} ${request.path.split("?")[0]} ${answer.status}\n`);
    return answer;
  };
  return connection;
}

// withoutNulls leaves absent what signal-cli writes as null.
function withoutNulls(body) {
  const strip = (value) => {
    if (Array.isArray(value)) return value.map(strip);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([k, v]) => [k, strip(v)]));
  };
  try {
    return Buffer.from(JSON.stringify(strip(JSON.parse(body.toString()))));
  } catch {
    return body; // it only looked like JSON
  }
}

// scan is what a phone does with the code of a device that waits; the device's next word is then the server's to take.
const waitingDevices = new Map(); // id -> what is called when its code is scanned
export const scan = (uri) => {
  const id = new URL(uri).searchParams.get("uuid"), seen = waitingDevices.get(id);
  if (!seen) throw new Error("no device waits with that code");
  waitingDevices.delete(id);
  seen();
};

const connections = need("./src/server/ws/connection");
const { Connection } = connections;
connections.Connection = class extends Connection {
  constructor(...all) {
    super(...all);
    extended(this);
  }

  // signal-cli does not acknowledge the two messages by which a device is linked; the mock would wait for that. And the mock takes
  // whichever device waits first for the one that is scanned.
  async handleProvision(id) {
    const seen = new Promise((resolve) => waitingDevices.set(id, resolve));
    this.send("PUT", "/v1/address", { body: (proto.ProvisioningAddress ?? proto.ProvisioningUuid).encode({ address: id, uuid: id }).finish() });
    await seen;
    const { envelope } = await this.server.getProvisioningResponse(id);
    this.send("PUT", "/v1/message", { body: envelope });
  }
};

// Signal refuses an unlinked device with 403 at the websocket's upgrade; the mock would accept and then close, which signal-cli
// takes for a bad network.
const { Server: WebSocketServer } = need("ws");
const handleUpgrade = WebSocketServer.prototype.handleUpgrade;
WebSocketServer.prototype.handleUpgrade = async function (req, socket, head, done) {
  const header = req.headers.authorization;
  if (header && mock) {
    const { error, username, password } = util.parseAuthHeader(header, { allowEmptyPassword: true });
    if (error || !(await mock.auth(username, password ?? ""))) {
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return undefined;
    }
  }
  return handleUpgrade.call(this, req, socket, head, done);
};

const { Server } = need("./src/api/server"); // after all that it takes from above

// server starts the mock with its uploads in a folder.
let mock;
export function server(uploads) {
  mock = new Server({ timeout: 24 * 60 * 60 * 1000, cdn3Path: uploads });
  // Signal keeps a message until the device has acknowledged it; the mock would drop what waited when the device goes away meanwhile.
  mock.sendQueue = async function (device, socket) {
    const queue = this.messageQueue.get(device) ?? [];
    this.messageQueue.delete(device);
    await Promise.all(queue.map(({ message, resolve, reject }) => (
      socket.sendMessage(message).then(resolve, () => { this.send(device, message).then(resolve, reject); }))));
    await socket.sendMessage("empty");
  };
  return mock;
}
