// Signal's server and the phones of the people who talk with the bot. The bot itself is signal-cli, linked to one of the phones
// as a second device.
//
// Written for a program, not for a person: it reads one JSON call a line, {"call": 1, "do": "send", "who": "ana", …}, and answers
// {"call": 1, "ok": …} or {"call": 1, "error": "..."}. Calls run side by side and are answered in any order. Waiting ends on the
// event itself, or with an error that lists what did happen. The process ends when its input does. usage: phones.mjs FOLDER
import { createInterface } from "node:readline";
import { createDecipheriv } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { attachmentFile, encryptAttachment, faults, Group, Long, proto, scan, server as newServer, ServiceIdKind, signal, zkgroup } from "./mock.mjs";

const uploads = fs.mkdtempSync(path.join(os.tmpdir(), "starling-signal-"));
const server = newServer(uploads);
const phones = new Map(); // name -> Phone
const groups = new Map(); // id -> Group, as its members see it
const sockets = new Set();
let down = false;
let scanning = Promise.resolve(); // one code after another

// Each message has a time of its own, for Signal calls messages by author and time.
let latest = 0;
const stamp = () => (latest = Math.max(latest + 1, Date.now()));
const long = (n) => Long.fromNumber(Number(n));
const rawUuid = (aci) => signal.Aci.parseFromServiceIdString(aci).getRawUuidBytes();

// Phone is one account and everything that its phone received, in order.
class Phone {
  constructor(name, device) {
    this.name = name;
    this.primary = device;
    this.log = []; // {seq, kind, id, group, …}
    this.waiting = new Set();
    this.sessions = new Map(); // device -> promise of a session with it
    const hear = async (next) => {
      for (;;) this.hear(await next());
    };
    hear(() => device.waitForMessage());
    hear(() => device.waitForEditMessage());
    hear(() => device.waitForReceipt());
    hear(() => device.waitForSyncMessage());
    hear(() => device.waitForDecryptionError());
  }

  get aci() {
    return this.primary.device.aci;
  }

  hear(received) {
    const { source, dataMessage, editMessage, receiptMessage, syncMessage } = received;
    const entry = { seq: this.log.length + 1, at: Date.now(), from: source?.aci, kind: "undecryptable" };
    if (dataMessage) Object.assign(entry, read(dataMessage, fields(received.content.raw, 1)));
    else if (editMessage) {
      Object.assign(entry, read(editMessage.dataMessage, fields(fields(received.content.raw, 11)[0], 2)), { kind: "edit" });
      entry.target = String(editMessage.targetSentTimestamp);
    } else if (receiptMessage) Object.assign(entry, { kind: "receipt", targets: receiptMessage.timestamp.map(String) });
    else if (syncMessage) entry.kind = "sync";
    this.log.push(entry);
    for (const check of [...this.waiting]) check();
  }

  // view is what the phone shows of a message now.
  view(entry) {
    if (entry.kind !== "message") return entry;
    // Each edit names the version before it; another is passed over.
    const versions = [entry.id];
    const edits = this.log.filter((e) => e.kind === "edit" && e.from === entry.from && e.target === versions.at(-1) && versions.push(e.id));
    const last = edits.at(-1);
    return {
      ...entry,
      ...(last && { body: last.body, styles: last.styles }),
      original: entry.body,
      edits: edits.length,
      deleted: this.log.some((e) => e.kind === "delete" && e.from === entry.from && e.target === entry.id),
    };
  }

  // until resolves with the first truthy value of look, which is asked again whenever something came.
  until(look, timeout, what) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = look();
        if (found) done(resolve, found);
      };
      const timer = setTimeout(() => done(reject, new Error(what())), timeout);
      const done = (end, value) => {
        clearTimeout(timer);
        this.waiting.delete(check);
        end(value);
      };
      this.waiting.add(check);
      check();
    });
  }

  // session prepares the first message to a device.
  session(device) {
    if (!this.sessions.has(device)) {
      this.sessions.set(device, device.popSingleUseKey().then((key) => this.primary.addSingleUseKey(device, key)));
    }
    return this.sessions.get(device);
  }

  // post encrypts for a device and hands over to the server, which keeps it while the device is away.
  async post(device, content, { timestamp, sealed = false, copies = 1 }) {
    await this.session(device);
    const envelope = await this.primary.encryptContent(device, content, { timestamp, sealed });
    for (let i = 0; i < copies; i++) server.send(device, envelope).catch((error) => note(error));
  }
}

// fields are the raw values of one field of a message: signal-cli writes people's ids into fields that the mock does not know.
function fields(raw, tag) {
  const found = [];
  for (let at = 0; raw && at < raw.length;) {
    const varint = () => {
      let value = 0, factor = 1, octet;
      do {
        octet = raw[at++];
        value += (octet & 127) * factor;
        factor *= 128;
      } while (octet & 128);
      return value;
    };
    const key = varint(), kind = key & 7;
    if (kind === 2) {
      const length = varint();
      if (Math.floor(key / 8) === tag) found.push(raw.subarray(at, at + length));
      at += length;
    } else if (kind === 0) varint();
    else at += kind === 1 ? 8 : 4;
  }
  return found;
}
const text = (raw, tag) => fields(raw, tag)[0]?.toString();

// read says what a message holds, as a phone would show it.
function read(m, [raw]) {
  const group = m.groupV2?.masterKey && groupOf(m.groupV2.masterKey);
  const entry = { kind: "message", id: String(m.timestamp), group: group?.id, body: m.body ?? "", timer: m.expireTimer || undefined, raw: undefined };
  if (m.quote) entry.quote = { id: String(m.quote.id), author: text(fields(raw, 8)[0], 5), text: m.quote.text ?? "" };
  if (m.bodyRanges?.length) {
    entry.styles = m.bodyRanges.filter((r) => r.style).map((r) => ({ start: r.start ?? 0, length: r.length, style: proto.BodyRange.Style[r.style] }));
    const mentions = fields(raw, 18).map((r) => text(r, 3)).filter(Boolean);
    if (mentions.length) entry.mentions = mentions;
  }
  if (m.attachments?.length) {
    entry.files = m.attachments.map((a) => ({ name: a.fileName ?? "", type: a.contentType ?? "", size: a.size ?? 0 }));
    const whole = m.attachments.find((a) => a.contentType === "text/x-signal-plain");
    if (whole) entry.body = download(whole).toString();
  }
  if (m.reaction) {
    Object.assign(entry, { kind: m.reaction.remove ? "unreaction" : "reaction", emoji: m.reaction.emoji, target: String(m.reaction.targetSentTimestamp) });
    entry.author = text(fields(raw, 16)[0], 4);
  } else if (m.delete) Object.assign(entry, { kind: "delete", target: String(m.delete.targetSentTimestamp) });
  else if (!m.body && !m.attachments?.length && m.groupV2) entry.kind = "group";
  return entry;
}

// download decrypts an attachment that a client uploaded.
function download(pointer) {
  const blob = fs.readFileSync(attachmentFile(uploads, pointer.cdnKey));
  const key = Buffer.from(pointer.key);
  const cipher = createDecipheriv("aes-256-cbc", key.subarray(0, 32), blob.subarray(0, 16));
  return Buffer.concat([cipher.update(blob.subarray(16, -32)), cipher.final()]).subarray(0, pointer.size);
}

async function upload({ type, name, data, voice }) {
  const file = encryptAttachment(Buffer.from(data, "base64"));
  return {
    cdnKey: await server.storeAttachment(file.blob), cdnNumber: 3, contentType: type, fileName: name, key: file.key, size: file.size, digest: file.digest,
    flags: voice ? proto.AttachmentPointer.Flags.VOICE_MESSAGE : 0,
  };
}

// Groups.

const phone = (name) => {
  const p = phones.get(name);
  if (!p) throw new Error(`${name} has no phone`);
  return p;
};
const groupOf = (masterKey) => [...groups.values()].find((g) => g.masterKey.equals(Buffer.from(masterKey)));

// now is a group as the server has it.
async function now(id) {
  const known = groups.get(id);
  if (!known) throw new Error(`there is no group ${id}`);
  const kept = await server.getGroup(known.publicParams.serialize());
  const group = new Group({ secretParams: known.secretParams, groupState: kept.state });
  groups.set(group.id, group);
  return { group, kept };
}

// aciOf says who a member is. To decrypt that is the dearest part of a message.
const decrypted = new Map(); // a member's id in a group -> UUID
function aciOf(group, userId) {
  const key = Buffer.from(userId).toString("base64");
  if (!decrypted.has(key)) decrypted.set(key, group.decryptServiceId(userId));
  return decrypted.get(key);
}

// linked are the devices beside the phones, of those who are in a group or invited: the bot's.
function linked(group) {
  const pending = (group.state.membersPendingProfileKey ?? []).map((m) => m.member);
  const there = new Set([...group.state.members, ...pending].map((m) => aciOf(group, m.userId)));
  return [...phones.values()].filter((p) => there.has(p.aci)).flatMap((p) => p.primary.secondaryDevices);
}

// change makes a new revision of a group, signed by the server as its own are (the mock itself knows a few changes only), and
// tells the members and those who were, unless in silence.
async function change(id, by, actions, apply, silent) {
  const { group, kept } = await now(id);
  const version = group.revision + 1, state = { ...kept.state, version };
  apply(state, group);
  const done = { version, groupId: Buffer.from(group.id, "base64"), sourceUserId: group.encryptServiceId(by.aci), ...actions(group) };
  const encoded = proto.GroupChange.Actions.encode(done).finish();
  const signed = { actions: encoded, changeEpoch: 1, serverSignature: kept.zkSecret.sign(Buffer.from(encoded)).serialize() };
  kept.privChanges.groupChanges.push({ groupChange: signed, groupState: state });
  const { group: after } = await now(id);
  const timestamp = stamp();
  const groupV2 = { ...after.toContext(), groupChange: proto.GroupChange.encode(signed).finish() };
  const tell = silent ? [] : [...new Set([...linked(group), ...linked(after)])];
  for (const device of tell) {
    await by.post(device, { dataMessage: { groupV2, timestamp: long(timestamp), profileKey: by.primary.profileKey.serialize() } }, { timestamp });
  }
  return null;
}

const sameMember = (userId) => (member) => Buffer.from(member.userId).equals(Buffer.from(userId));
const Role = proto.Member.Role;

// What can be done. Each takes the phone of who does it, and the call.
const verbs = {
  async account(_, { who }) {
    const made = new Phone(who, await server.createPrimaryDevice({ profileName: who }));
    phones.set(who, made);
    return { number: made.primary.device.number, aci: made.aci };
  },
  // link scans the code that signal-cli shows.
  async link(p, { uri }) {
    scanning = scanning.catch(() => {}).then(() => {
      scan(uri);
      return server.waitForProvision();
    });
    const { complete } = await scanning;
    const device = await complete({ provisionURL: uri, primaryDevice: p.primary });
    return device.deviceId;
  },

  // createGroup makes a group of the members, the first its maker; admins are those who are named.
  async createGroup(p, { title, members, admins, timer }) {
    const all = [p, ...members.map(phone)];
    const made = await p.primary.createGroup({ title, members: all.map((m) => m.primary) });
    groups.set(made.id, made);
    const { group, kept } = await now(made.id);
    for (const member of kept.state.members) {
      const who = all.find((m) => m.aci === group.decryptServiceId(member.userId));
      if (who !== p && !admins.includes(who.name)) member.role = Role.DEFAULT;
    }
    kept.state.accessControl = { ...kept.state.accessControl, members: proto.AccessControl.AccessRequired.MEMBER };
    if (timer) kept.state.disappearingMessagesTimer = timerBlob(group, timer);
    await now(made.id);
    return made.id;
  },
  async invite(p, { group, name }) {
    const id = group;
    return change(id, p, (g) => ({ addPendingMembers: [{ added: pending(g, p, name) }] }), (state, g) => {
      state.membersPendingProfileKey = [...(state.membersPendingProfileKey ?? []), pending(g, p, name)];
    });
  },
  async add(p, { group, name }) {
    const { group: g } = await now(group);
    const presentation = await phone(name).primary.getProfileKeyPresentation(g.secretParams);
    const member = { role: Role.DEFAULT, userId: presentation.getUuidCiphertext().serialize(), profileKey: presentation.getProfileKeyCiphertext().serialize() };
    return change(group, p, () => ({ addMembers: [{ added: member }] }), (state) => {
      state.members = [...state.members, member];
    });
  },
  remove(p, { group, name }) {
    const user = (g) => g.encryptServiceId(phone(name).aci);
    return change(group, p, (g) => ({ deleteMembers: [{ deletedUserId: user(g) }] }), (state, g) => {
      const gone = sameMember(user(g));
      state.members = state.members.filter((m) => !gone(m));
    });
  },
  role(p, { group, name, admin }) {
    const role = admin ? Role.ADMINISTRATOR : Role.DEFAULT;
    const user = (g) => g.encryptServiceId(phone(name).aci);
    return change(group, p, (g) => ({ modifyMemberRoles: [{ userId: user(g), role }] }), (state, g) => {
      const meant = sameMember(user(g));
      state.members = state.members.map((m) => (meant(m) ? { ...m, role } : m));
    });
  },
  timer(p, { group, timer }) {
    return change(group, p, (g) => ({ modifyDisappearingMessagesTimer: { timer: timerBlob(g, timer) } }), (state, g) => {
      state.disappearingMessagesTimer = timerBlob(g, timer);
    });
  },
  async members(_, { group }) {
    const { group: g } = await now(group);
    const list = (all, admin) => (all ?? []).map((m) => ({ aci: aciOf(g, m.userId), admin: admin(m) }));
    return {
      members: list(g.state.members, (m) => m.role === Role.ADMINISTRATOR),
      pending: list((g.state.membersPendingProfileKey ?? []).map((m) => m.member), () => false),
    };
  },

  // send sends what a person writes or does, into a group or to one person, and returns its time, which is its name.
  async send(p, call) {
    const timestamp = Number(call.timestamp ?? stamp());
    const group = call.group && (await now(call.group)).group;
    const devices = group ? linked(group) : phone(call.to).primary.secondaryDevices;
    const content = await contents[call.kind](p, call, group, timestamp);
    for (const device of devices) {
      if (content) await p.post(device, content, { timestamp, sealed: call.sealed, copies: call.copies });
      else server.send(device, unreadable(p, device, timestamp)).catch((error) => note(error));
    }
    return String(timestamp);
  },
  // sync is what the phone tells its linked devices: that its owner wrote something.
  async sync(p, { group, text: body }) {
    const timestamp = stamp();
    const groupV2 = group && (await now(group)).group.toContext();
    const message = { body, timestamp: long(timestamp), groupV2 };
    for (const device of p.primary.secondaryDevices) {
      await p.post(device, { syncMessage: { sent: { timestamp: long(timestamp), message } } }, { timestamp });
    }
    return String(timestamp);
  },

  mark: (p) => p.log.length,
  wait(p, { want, timeout }) {
    return p.until(() => {
      for (let i = want.after ?? 0; i < p.log.length; i++) { // the entry after seq i stands at index i
        const view = p.view(p.log[i]);
        if (fits(view, want)) return view;
      }
      return undefined;
    }, timeout, () => `waited in vain for ${JSON.stringify(want)}; ${seen(p, want)}`);
  },
  // heard lists what came to a phone after a mark, in order.
  heard: (p, { group, after }) => p.log.filter((e) => e.seq > (after ?? 0) && (group === undefined || (e.group ?? "") === group)).map((e) => p.view(e)),

  // Troubles.

  // fault answers the next requests of a kind in the server's place; it is told when the last of them was met.
  fault(_, { fault }) {
    faults.push({ ...fault, left: fault.count, met: () => {} });
    return null;
  },
  // metFault waits until the first fault has been met at least once.
  async metFault(_, { timeout }) {
    const fault = faults[0];
    if (!fault || fault.left < fault.count) return null;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing met the fault")), timeout);
      fault.met = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return null;
  },
  endFaults() {
    const met = faults.reduce((sum, f) => sum + f.count - f.left, 0);
    faults.length = 0;
    return met;
  },
  // challenge makes the server ask for a captcha whenever the bot of `who` writes to somebody.
  challenge(p, { name, off }) {
    const pair = { source: p.aci, target: phone(name).aci };
    if (off) return server.stopRateLimiting(pair) ?? 0;
    server.rateLimit(pair);
    return 0;
  },
  // outage: no connection holds and none is taken, until it is over.
  outage(_, { over }) {
    down = !over;
    if (down) for (const socket of sockets) socket.destroy();
    return null;
  },
  // unlink is what the phone does to a linked device; the device is told when it connects again.
  unlink(p) {
    for (const device of p.primary.secondaryDevices) {
      for (const [user, entry] of server.devicesByAuth) if (entry.device === device) server.devicesByAuth.delete(user);
      for (const connection of server.webSockets.get(device) ?? []) connection.ws.close(4401, "Reauthentication required");
    }
    p.primary.secondaryDevices.length = 0;
    return null;
  },
  // reinstall is a new phone with the old number: other keys.
  async reinstall(p) {
    const { primary } = p;
    primary.privateKey = signal.PrivateKey.generate();
    primary.publicKey = primary.privateKey.getPublicKey();
    primary.device.registrationId = (primary.device.registrationId % 16000) + 7;
    const identity = primary.identity.get(ServiceIdKind.ACI);
    await identity.updateIdentityKey(primary.privateKey);
    await identity.updateLocalRegistrationId(primary.device.registrationId);
    primary.sessions.sessions.clear();
    primary.senderKeys.get(ServiceIdKind.ACI).keys.clear();
    p.sessions.clear();
    await primary.device.setKeys(ServiceIdKind.ACI, await primary.generateKeys(primary.device, ServiceIdKind.ACI));
    return null;
  },
  unregister(p, { back }) {
    if (back) server.register(p.primary);
    else server.unregister(p.primary);
    return null;
  },
};

const pending = (group, by, name) => ({
  member: { userId: group.encryptServiceId(phone(name).aci), role: Role.DEFAULT },
  addedByUserId: group.encryptServiceId(by.aci),
  timestamp: long(Date.now()),
});

const timerBlob = (group, seconds) => {
  const plain = proto.GroupAttributeBlob.encode({ disappearingMessagesDuration: seconds }).finish();
  return Buffer.from(new zkgroup.ClientZkGroupCipher(group.secretParams).encryptBlob(plain));
};

// contents makes what is sent of a call.
const contents = {
  async text(p, call, group, timestamp) {
    return { dataMessage: await dataMessage(p, call, group, timestamp) };
  },
  async edit(p, call, group, timestamp) {
    return { editMessage: { targetSentTimestamp: long(call.target), dataMessage: await dataMessage(p, call, group, timestamp) } };
  },
  async delete(p, call, group, timestamp) {
    return { dataMessage: { ...(await dataMessage(p, call, group, timestamp)), delete: { targetSentTimestamp: long(call.target) } } };
  },
  async reaction(p, call, group, timestamp) {
    const reaction = { emoji: call.emoji, remove: Boolean(call.remove), targetAuthorAciBinary: rawUuid(call.author), targetSentTimestamp: long(call.target) };
    return { dataMessage: { ...(await dataMessage(p, call, group, timestamp)), reaction } };
  },
  async groupCall(p, call, group, timestamp) {
    return { dataMessage: { ...(await dataMessage(p, call, group, timestamp)), groupCallUpdate: { eraId: "era" } } };
  },
  typing: (p, call, group, timestamp) => ({
    typingMessage: { timestamp: long(timestamp), action: 0, groupId: group?.publicParams.getGroupIdentifier().serialize() },
  }),
  receipt: (p, call) => ({ receiptMessage: { type: 1, timestamp: [long(call.target)] } }),
  call: () => ({ callMessage: { offer: { id: long(1), type: 0, opaque: Buffer.from("ring") } } }),
  story: (p, call, group) => story(p, call, group, { textStyle: 1, gradient: { startColor: 1, endColor: 2, angle: 3, colors: [1, 2], positions: [0, 1] } }),
  deadlyStory: (p, call, group) => story(p, call, group, {}), // signal-cli 0.13.19 stops receiving at one without a background
  unreadable: () => undefined,
};

const story = (p, call, group, look) => ({
  storyMessage: {
    profileKey: p.primary.profileKey.serialize(), group: group?.toContext(), textAttachment: { text: call.text, ...look }, allowsReplies: true,
  },
});

async function dataMessage(p, call, group, timestamp) {
  const m = {
    groupV2: group?.toContext(), body: call.text, profileKey: p.primary.profileKey.serialize(), timestamp: long(timestamp),
    expireTimer: call.timer, isViewOnce: call.viewOnce, flags: 0,
  };
  if (call.quote) m.quote = { id: long(call.quote.id), authorAciBinary: rawUuid(call.quote.author), text: call.quote.text ?? "", type: 0 };
  if (call.mentions) m.bodyRanges = call.mentions.map((r) => ({ start: r.start, length: r.length, mentionAciBinary: rawUuid(r.aci) }));
  if (call.files) m.attachments = await Promise.all(call.files.map(upload));
  if (call.sticker) {
    m.sticker = { packId: Buffer.alloc(16, 1), packKey: Buffer.alloc(32, 2), stickerId: 1, emoji: call.sticker, data: await upload({ type: "image/webp", data: "AAAA" }) };
  }
  return m;
}

// unreadable is an envelope that no key opens.
const unreadable = (p, device, timestamp) => Buffer.from(proto.Envelope.encode({
  type: proto.Envelope.Type.DOUBLE_RATCHET, sourceServiceIdBinary: p.primary.device.aciBinary, sourceDeviceId: 1, destinationServiceIdBinary: device.aciBinary,
  serverTimestamp: long(timestamp), clientTimestamp: long(timestamp), content: Buffer.from("no cipher text"),
}).finish());

// fits says whether what a phone shows is what is waited for.
function fits(view, want) {
  const body = view.body ?? "";
  return view.kind === (want.kind ?? "message") && (view.group ?? "") === (want.group ?? "") &&
    (want.id === undefined || view.id === want.id) &&
    (want.from === undefined || view.from === want.from) &&
    (want.target === undefined || view.target === want.target) &&
    (want.emoji === undefined || view.emoji === want.emoji) &&
    (want.contains ?? []).every((part) => body.includes(part)) &&
    (want.matches === undefined || new RegExp(want.matches, "su").test(body)) &&
    (want.quotes === undefined || view.quote?.id === want.quotes) &&
    (want.edits === undefined || view.edits >= want.edits) &&
    (want.deleted === undefined || view.deleted === want.deleted);
}

function seen(p, want) {
  const lines = p.log.filter((e) => e.seq > (want.after ?? 0) && (e.group ?? "") === (want.group ?? "")).slice(-20)
    .map((e) => `  ${e.seq} ${e.kind} ${e.id ?? ""}${e.quote ? ` quoting ${e.quote.id}` : ""}${e.target ? ` of ${e.target}` : ""}: ${e.emoji ?? e.body ?? ""}`);
  return lines.length ? `since then there came\n${lines.join("\n")}` : "since then nothing came";
}

async function run(call) {
  const verb = verbs[call.do];
  if (!verb) throw new Error(`unknown verb ${call.do}`);
  return verb(call.do === "account" || !call.who ? undefined : phone(call.who), call);
}

const note = (error) => process.stderr.write(`in the background: ${error?.stack ?? error}\n`);
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

process.on("unhandledRejection", note);
const leave = (status) => {
  fs.rmSync(uploads, { recursive: true, force: true });
  process.exit(status);
};
await server.listen(0, "127.0.0.1");
server.https.prependListener("connection", (socket) => {
  if (down) {
    socket.destroy();
    return;
  }
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
});
answer({ call: 0, ok: { port: server.address().port } });
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const call = JSON.parse(line);
  run(call).then(
    (ok) => answer({ call: call.call, ok: ok ?? null }),
    (error) => answer({ call: call.call, error: String(error?.stack ?? error) }),
  );
});
lines.on("close", () => leave(0));
process.on("SIGTERM", () => leave(0));
