// The people of the end-to-end tests: real Matrix clients (matrix-js-sdk with Rust crypto) that a Go test drives.
//
// One JSON object a line. In: {"call": 1, "who": "@ana:localhost", "do": "send", ...}. Out: {"call": 1, "ok": ...} or
// {"call": 1, "error": "..."}. Calls run side by side and are answered in any order. Waiting ends on the event
// itself, or with an error that lists what did happen. The process ends when its input does.
import "./polyfill.mjs";
import { createInterface } from "node:readline";
import * as sdk from "matrix-js-sdk";
import { OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";

const SHIELDS = ["none", "grey", "red"];
const people = new Map();

// Person is one logged-in client and everything that came down its sync, in order. It keeps its own log because the
// SDK's aggregations forget: an undone reaction, the first wording of an edited message, an event that came twice.
class Person {
  constructor(client) {
    this.client = client;
    this.log = []; // {seq, event, before}: before is what the event said when it came, for it may be redacted later
    this.byId = new Map();
    this.about = new Map(); // event id -> entries that relate to it
    this.waiting = new Set();
    client.on(sdk.ClientEvent.Event, (event) => this.hear(event));
    client.on(sdk.RoomMemberEvent.Membership, () => this.poke());
    client.on(sdk.RoomStateEvent.Events, () => this.poke());
    client.on(sdk.ClientEvent.DeleteRoom, () => this.poke());
    client.on(sdk.ClientEvent.Sync, (state) => { // after an outage the SDK would sleep for up to ten seconds
      if (state === "RECONNECTING" || state === "ERROR") setTimeout(() => client.retryImmediately(), 100);
    });
  }

  hear(event) {
    if (!event.getId() || !event.getRoomId() || this.byId.has(event.getId())) return;
    const entry = { seq: this.log.length + 1, event, before: {} };
    this.log.push(entry);
    this.byId.set(event.getId(), entry);
    const target = relationOf(event).event_id;
    if (target) this.about.set(target, [...(this.about.get(target) ?? []), entry]);
    const settle = () => {
      if (!event.isRedacted()) {
        entry.before = { type: event.getType(), content: event.getOriginalContent(), relation: relationOf(event) };
      }
      if (event.getType() === "m.room.redaction") {
        entry.before.redacts = event.event.redacts ?? event.getContent().redacts;
      }
      this.poke();
    };
    settle();
    event.on(sdk.MatrixEventEvent.Decrypted, settle);
    this.client.decryptEventIfNeeded(event).then(settle, settle);
  }

  poke() {
    for (const check of [...this.waiting]) check();
  }

  // until resolves with the first truthy value of look, which is asked again whenever anything changed.
  until(look, timeout, what) {
    return new Promise((resolve, reject) => {
      const check = () => {
        let found;
        try {
          found = look();
        } catch (error) {
          done(reject, error);
          return;
        }
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

  // view says what this person's client shows of one event now: latest wording, reactions, whether it is gone.
  view(entry) {
    const { event, before, seq } = entry;
    const relation = before.relation ?? {};
    const about = (this.about.get(event.getId()) ?? []).filter((e) => !e.event.isRedacted());
    // An edit counts once it can be read.
    const edits = about.filter((e) => e.before.content?.["m.new_content"] && e.event.getSender() === event.getSender());
    const content = edits.at(-1)?.before.content["m.new_content"] ?? before.content ?? {};
    return {
      seq,
      id: event.getId(),
      room: event.getRoomId(),
      sender: event.getSender(),
      type: before.type,
      stateKey: event.getStateKey(),
      msgtype: content.msgtype,
      body: content.body,
      original: before.content?.body,
      formattedBody: content.formatted_body,
      thread: relation.rel_type === "m.thread" ? relation.event_id : undefined,
      replyTo: relation["m.in_reply_to"]?.event_id,
      replyFallback: relation.is_falling_back,
      relation: relation.rel_type,
      target: before.redacts ?? relation.event_id,
      key: relation.key,
      mentions: content["m.mentions"],
      edits: edits.length,
      reactions: about.filter((e) => e.before.relation.rel_type === "m.annotation")
        .map((e) => ({ key: e.before.relation.key, person: e.event.getSender(), id: e.event.getId() })),
      redacted: event.isRedacted(),
      encrypted: event.isEncrypted(),
      undecryptable: event.isDecryptionFailure() ? String(event.decryptionFailureReason) : undefined,
      membership: before.type === "m.room.member" ? before.content?.membership : undefined,
      content,
    };
  }

  // withShield adds the mark that Element would draw beside the message.
  async withShield(view) {
    const entry = this.byId.get(view.id);
    if (!view.encrypted || view.undecryptable || view.redacted) return view;
    const crypto = this.client.getCrypto();
    await crypto.getUserDeviceInfo([view.sender], true);
    const info = await crypto.getEncryptionInfoForEvent(entry.event);
    return { ...view, shield: SHIELDS[info?.shieldColour] ?? "unknown", shieldReason: info?.shieldReason ?? undefined };
  }

  room(id) {
    const room = this.client.getRoom(id);
    if (!room) throw new Error(`no room ${id}`);
    return room;
  }

  state(room, type, key) {
    return this.client.getRoom(room)?.currentState.getStateEvents(type, key)?.getContent();
  }

  seen(room, after) {
    const lines = this.log.filter((e) => e.seq > after && e.event.getRoomId() === room).slice(-20).map((e) => {
      const v = this.view(e);
      return `  ${v.seq} ${v.sender} ${v.type}${v.relation ? " " + v.relation : ""}: ${v.undecryptable ?? v.key ?? v.body ?? v.membership ?? ""}`;
    });
    return lines.length ? "since then in the room:\n" + lines.join("\n") : "since then nothing happened in the room";
  }
}

// relationOf reads m.relates_to, which stands beside the cipher text; the SDK's getRelation leaves out plain replies.
const relationOf = (event) => event.getWireContent()["m.relates_to"] ?? event.getContent()["m.relates_to"] ?? {};

// fits says whether what a client shows of a message is what is waited for. What cannot be read yet is not: its key may come
// a moment after it.
function fits(view, want) {
  const text = view.body ?? "";
  return (view.undecryptable === undefined || want.redacted !== undefined) && (want.id === undefined || view.id === want.id) &&
    (want.type ? view.type === want.type : want.id !== undefined || (view.type === "m.room.message" && view.relation !== "m.replace")) &&
    (want.from === undefined || view.sender === want.from) &&
    (want.contains ?? []).every((part) => text.includes(part)) &&
    (want.matches === undefined || new RegExp(want.matches, "su").test(text)) &&
    (want.msgtype === undefined || view.msgtype === want.msgtype) &&
    (want.thread === undefined || view.thread === want.thread) &&
    (want.replyTo === undefined || view.replyTo === want.replyTo) &&
    (want.edits === undefined || view.edits >= want.edits) &&
    (want.redacted === undefined || view.redacted === want.redacted) &&
    (want.reaction === undefined || view.reactions.some((r) => r.key === want.reaction && (!want.by || r.person === want.by))) &&
    (want.noReaction === undefined || !view.reactions.some((r) => r.key === want.noReaction && (!want.by || r.person === want.by)));
}

// Post can keep back what a client sends to other devices in secret: room keys. The client takes it for sent. It can also have one-time
// keys refused that are uploaded.
class Post {
  constructor() {
    this.withheld = undefined; // what is kept back; undefined sends everything
    this.refusing = false;
  }

  fetch(url, options) {
    if (this.refusing && String(url).includes("/keys/upload")) {
      return Promise.resolve(new Response('{"errcode":"M_FORBIDDEN"}', { status: 403, headers: { "Content-Type": "application/json" } }));
    }
    if (this.withheld && String(url).includes("/sendToDevice/m.room.encrypted/")) {
      this.withheld.push([url, options]);
      return Promise.resolve(new Response("{}", { status: 200, headers: { "Content-Type": "application/json" } }));
    }
    return fetch(url, options);
  }
}

async function login({ base, user, password, onlySigned, unsigned }) {
  const first = await sdk.createClient({ baseUrl: base }).loginRequest({
    type: "m.login.password", identifier: { type: "m.id.user", user }, password, initial_device_display_name: "human",
  });
  const post = new Post();
  const client = sdk.createClient({
    baseUrl: base, accessToken: first.access_token, userId: first.user_id, deviceId: first.device_id, timelineSupport: true,
    fetchFn: (url, options) => post.fetch(url, options),
  });
  await client.initRustCrypto({ useIndexedDB: false });
  const crypto = client.getCrypto();
  if (onlySigned) crypto.setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
  const person = new Person(client);
  person.post = post;
  people.set(first.user_id, person);
  const filter = new sdk.Filter(first.user_id);
  filter.setTimelineLimit(1000); // a burst must not leave a gap in the log
  const prepared = new Promise((resolve) => {
    const onSync = (state) => {
      if (state !== "PREPARED") return;
      client.off(sdk.ClientEvent.Sync, onSync);
      resolve();
    };
    client.on(sdk.ClientEvent.Sync, onSync);
  });
  await client.startClient({ filter, initialSyncLimit: 1000, threadSupport: false, pollTimeout: 20000 });
  await prepared;
  if (!unsigned) await sign(crypto, user, password);
  return { id: first.user_id, device: first.device_id };
}

// sign makes a cross-signing identity and signs the device with it.
function sign(crypto, user, password) {
  return crypto.bootstrapCrossSigning({
    authUploadDeviceSigningKeys: (request) => request({ type: "m.login.password", identifier: { type: "m.id.user", user }, password }),
  });
}

// What a person can do. Each takes the person and the call, and returns what is answered.
const verbs = {
  async createRoom(p, { options, direct, encrypted, timeout }) {
    const { room_id: room } = await p.client.createRoom(options);
    await p.until(() => p.client.getRoom(room)?.getMyMembership() === "join" && (!encrypted || p.state(room, "m.room.encryption", "")),
      timeout, () => `room ${room} did not come down the sync`);
    if (direct) {
      const rooms = p.client.getAccountData("m.direct")?.getContent() ?? {};
      await p.client.setAccountData("m.direct", { ...rooms, [direct]: [...(rooms[direct] ?? []), room] });
    }
    return room;
  },
  invite: (p, { room, user }) => p.client.invite(room, user).then(() => null),
  kick: (p, { room, user }) => p.client.kick(room, user).then(() => null),
  ban: (p, { room, user }) => p.client.ban(room, user).then(() => null),
  leave: (p, { room }) => p.client.leave(room).then(() => null),
  async join(p, { room, timeout }) {
    await p.client.joinRoom(room);
    await p.until(() => p.client.getRoom(room)?.getMyMembership() === "join", timeout, () => `the join to ${room} did not come down the sync`);
    return null;
  },
  setPower: (p, { room, user, level }) => p.client.setPowerLevel(room, user, level).then(() => null),
  setState: (p, { room, type, key, content }) => p.client.sendStateEvent(room, type, content, key ?? "").then((r) => r.event_id),
  upgrade: (p, { room, version }) => p.client.upgradeRoom(room, version).then((r) => r.replacement_room),
  async send(p, { room, type, content, clear, txn }) {
    if (clear) { // past the SDK, as a client without encryption would
      const path = `/rooms/${encodeURIComponent(room)}/send/${encodeURIComponent(type)}/${txn}`;
      return (await p.client.http.authedRequest("PUT", path, undefined, content)).event_id;
    }
    return (await p.client.sendEvent(room, null, type, content)).event_id;
  },
  redact: (p, { room, id }) => p.client.redactEvent(room, id).then((r) => r.event_id),

  // withhold keeps room keys back from now on, those of new sessions: the old one is not used any more.
  async withhold(p, { room }) {
    await p.client.getCrypto().forceDiscardSession(room);
    p.post.withheld = [];
    return null;
  },
  // handOver sends what was kept back, lose forgets it; after either nothing more is kept.
  async handOver(p) {
    const late = p.post.withheld;
    p.post.withheld = undefined;
    for (const [url, options] of late) {
      const { signal, ...rest } = options; // its time is long over
      const answer = await fetch(url, rest);
      if (!answer.ok) throw new Error(`a key that was kept back is not taken: ${answer.status}`);
    }
    return late.length;
  },
  lose(p) {
    const lost = p.post.withheld.length;
    p.post.withheld = undefined;
    return lost;
  },

  // uploads says whether one-time keys are taken that the client uploads. It tries again with each sync.
  async uploads(p, { on }) {
    p.post.refusing = !on;
    return null;
  },

  sign: (p, { user, password }) => sign(p.client.getCrypto(), user, password).then(() => null),

  mark: (p) => p.log.length,
  async wait(p, { want, timeout }) {
    const after = () => Math.max(want.after ?? 0, want.afterId ? p.byId.get(want.afterId)?.seq ?? Infinity : 0);
    const view = await p.until(() => {
      if (want.id) {
        const entry = p.byId.get(want.id);
        const view = entry?.event.getRoomId() === want.room ? p.view(entry) : undefined;
        return view && view.seq > after() && fits(view, want) ? view : undefined;
      }
      for (let i = after(); i < p.log.length; i++) { // the entry after seq i stands at index i
        if (p.log[i].event.getRoomId() !== want.room) continue;
        const view = p.view(p.log[i]);
        if (fits(view, want)) return view;
      }
    }, timeout, () => `waited in vain for ${JSON.stringify(want)}; ${p.seen(want.room, Number.isFinite(after()) ? after() : 0)}`);
    return p.withShield(view);
  },
  // did lists what one person (or everyone) did in a room after a mark, in order.
  did: (p, { room, from, after }) => Promise.all(p.log
    .filter((e) => e.seq > (after ?? 0) && e.event.getRoomId() === room && (!from || e.event.getSender() === from))
    .map((e) => p.withShield(p.view(e)))),
  async waitMember(p, { room, user, membership, timeout }) {
    const now = () => p.client.getRoom(room)?.getMember(user)?.membership;
    await p.until(() => (now() ?? "leave") === membership, timeout, () => `${user} is "${now()}" in ${room}, not "${membership}"`);
    return null;
  },
  async waitPower(p, { room, user, level, timeout }) {
    const now = () => p.client.getRoom(room)?.getMember(user)?.powerLevel;
    await p.until(() => now() === level, timeout, () => `${user} has power ${now()} in ${room}, not ${level}`);
    return null;
  },
  waitInvite: (p, { from, timeout }) => p.until(
    () => p.client.getRooms().find((r) => r.getMyMembership() === "invite" &&
      r.getMember(p.client.getUserId())?.events.member?.getSender() === from)?.roomId,
    timeout, () => `no invitation from ${from} came`),
  async waitState(p, { room, type, key, timeout }) {
    return p.until(() => p.state(room, type, key ?? ""), timeout, () => `no state ${type} in ${room}`);
  },
  states: (p, { room, type }) => p.room(room).currentState.getStateEvents(type)
    .map((e) => ({ key: e.getStateKey(), sender: e.getSender(), content: e.getContent() })),
  members: (p, { room }) => p.room(room).getMembers()
    .map((m) => ({ id: m.userId, name: m.rawDisplayName, membership: m.membership, power: m.powerLevel })),
  async trust(p, { user }) {
    const crypto = p.client.getCrypto();
    const devices = (await crypto.getUserDeviceInfo([user], true)).get(user) ?? new Map();
    const all = await Promise.all([...devices.keys()].map(async (id) => {
      const status = await crypto.getDeviceVerificationStatus(user, id);
      return { id, signed: status?.signedByOwner ?? false };
    }));
    return { identity: (await crypto.getUserVerificationStatus(user)).known, devices: all };
  },
  logout: async (p) => {
    p.client.stopClient();
    people.delete(p.client.getUserId());
    await p.client.logout(false);
    return null;
  },
};

async function run(call) {
  if (call.do === "login") return login(call);
  const person = people.get(call.who);
  if (!person) throw new Error(`${call.who} is not logged in`);
  const verb = verbs[call.do];
  if (!verb) throw new Error(`unknown verb ${call.do}`);
  return verb(person, call);
}

const answer = (line) => process.stdout.write(JSON.stringify(line) + "\n");

process.on("unhandledRejection", (error) => process.stderr.write(`in the background: ${error?.stack ?? error}\n`));
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const call = JSON.parse(line);
  run(call).then(
    (ok) => answer({ call: call.call, ok: ok ?? null }),
    (error) => answer({ call: call.call, error: String(error?.message ?? error) }),
  );
});
lines.on("close", () => process.exit(0));
