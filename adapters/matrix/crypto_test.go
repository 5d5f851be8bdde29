package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// speaker encrypts as somebody's client does.
type speaker struct {
	t       testing.TB
	session olm.OutboundGroupSession
	key     string // as it was before the first message
}

func newSpeaker(t testing.TB) *speaker {
	t.Helper()
	s, err := olm.NewOutboundGroupSession()
	if err != nil {
		t.Fatal(err)
	}
	return &speaker{t: t, session: s, key: s.Key()}
}

func (s *speaker) says(body string, more ...string) string {
	s.t.Helper()
	plain, err := json.Marshal(map[string]any{"room_id": roomID, "type": "m.room.message", "content": map[string]any{"msgtype": "m.text", "body": body}})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.encrypts(string(plain), more...)
}

func (s *speaker) encrypts(plain string, more ...string) string {
	s.t.Helper()
	cipher, err := s.session.Encrypt([]byte(plain))
	if err != nil {
		s.t.Fatal(err)
	}
	return ev("m.room.encrypted", ana, fmt.Sprintf(`{"algorithm":"m.megolm.v1.aes-sha2","session_id":%q,"ciphertext":%q}`, s.session.ID(), cipher), more...)
}

// hands gives the room key to the bot, as a to-device message would.
func (s *speaker) hands(a *Adapter) {
	s.t.Helper()
	igs, err := crypto.NewInboundGroupSession("curve", "ed", roomID, s.key, 7*24*time.Hour, 100, nil, false)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := a.mach.StoreGroupSession(s.t.Context(), igs); err != nil {
		s.t.Fatal(err)
	}
}

func held(t *testing.T, a *Adapter) int {
	t.Helper()
	list, err := a.store.heldFor(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestEncryptedMessage(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, in, s := acc.open(), newInbox(), newSpeaker(t)
	s.hands(a)
	acc.run(a, in)
	h.push(settled(encryption()))
	h.push(inRoom(nil, []string{
		// The homeserver did not see this redaction: it takes nothing away.
		s.encrypts(`{"room_id":"` + roomID + `","type":"m.room.redaction","content":{"redacts":"$x"}}`),
		// Ciphertext of another room, put here by a homeserver.
		s.encrypts(`{"room_id":"!other:example.org","type":"m.room.message","content":{"msgtype":"m.text","body":"elsewhere"}}`),
		s.says("/needs"),
	}))
	got := in.until(t, "/needs", textIs("/needs"))
	if !got.Encrypted || got.Trust != bot.TrustUnsigned {
		t.Errorf("%+v", got)
	}
	for _, in := range in.got {
		if in.Kind == bot.KindDeletion || in.Text == "elsewhere" {
			t.Errorf("%+v", in)
		}
	}
	acc.checkLog()
}

// A reaction is not encrypted. In an encrypted room it counts for no more than a message could: a bridge's ghost, which has no
// device, confirms nothing there.
func TestAReactionIsNoBetterThanItsAuthorsDevices(t *testing.T) {
	a, b, r := bench(t)
	b.own["$preview"] = true
	ctx, cs := t.Context(), a.store.crypto
	key := func(name string) id.Ed25519 { return id.Ed25519(name) }
	device := &id.Device{UserID: ana, DeviceID: "PHONE", IdentityKey: "curve", SigningKey: key("phone")}
	signs := func(signed, by string) error { return cs.PutSignature(ctx, ana, key(signed), ana, key(by), "valid") }
	for _, step := range []struct {
		name      string
		first     func() error
		encrypted bool
		target    string
		want      bot.Trust
	}{
		{"nobody's devices are known in a room that is not encrypted", nil, false, "$preview", bot.TrustUnknown},
		{"no device", nil, true, "$preview", bot.TrustUnsigned},
		{"nothing of the bot's", nil, true, "$other", bot.TrustUnknown},
		{"a device that nobody signed", func() error {
			return cs.PutDevices(ctx, ana, map[id.DeviceID]*id.Device{device.DeviceID: device})
		}, true, "$preview", bot.TrustUnsigned},
		{"an identity that did not sign it", func() error {
			return errors.Join(cs.PutCrossSigningKey(ctx, ana, id.XSUsageMaster, key("master")), cs.PutCrossSigningKey(ctx, ana, id.XSUsageSelfSigning, key("self")), signs("self", "master"))
		}, true, "$preview", bot.TrustUnsigned},
		{"a signed device", func() error { return signs("phone", "self") }, true, "$preview", bot.TrustUnknown},
	} {
		if step.first != nil {
			if err := step.first(); err != nil {
				t.Fatal(err)
			}
		}
		r.Encrypted = step.encrypted
		in, err := a.translate(ctx, b, r, asMessage(parse(t, ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"`+step.target+`","key":"✅"}}`, `"event_id":"$it"`))))
		if err != nil || in == nil || in.Trust != step.want {
			t.Errorf("%s: got %+v, %v, want trust %d", step.name, in, err, step.want)
		}
	}
}

func TestLateKeyOpensWhatWasHeldAlsoAfterARestart(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, in, s := acc.open(), newInbox(), newSpeaker(t)
	stop := acc.run(a, in)
	h.push(settled(encryption()))
	h.push(inRoom(nil, []string{s.says("one"), s.says("two")}))
	h.handed("s2")
	if n := held(t, a); n != 2 {
		t.Fatalf("%d events held", n)
	}
	s.hands(a)
	h.push(inRoom(nil, []string{text(ana, "clear")}))
	in.until(t, "clear", textIs("clear"))
	if got := in.texts(); !slices.Equal(got, []string{"one", "two", "clear"}) {
		t.Errorf("texts %q", got)
	}
	late := newSpeaker(t)
	h.push(inRoom(nil, []string{late.says("three")}))
	h.handed("s4")
	stop()

	a, in = acc.open(), newInbox()
	if n := held(t, a); n != 1 {
		t.Fatalf("%d events held", n)
	}
	in.fail = func(try int) error { // the engine fails at first: nothing of it is lost
		if try <= 2 {
			return errors.New("full")
		}
		return nil
	}
	late.hands(a)
	h.push(`{"rooms":{}}`)
	stop = acc.run(a, in)
	in.until(t, "three", textIs("three"))
	h.handed("s5")
	stop()
	acc.checkLog()
}

func TestKeysLoseTheirPowerAfterADay(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, s := acc.open(), newSpeaker(t)
	defer a.Close()
	ctx := t.Context()
	s.hands(a)
	stamp := func(age time.Duration) string {
		return fmt.Sprintf(`"origin_server_ts":%d`, time.Now().Add(-age).UnixMilli())
	}
	old, fresh := s.says("two days ago", stamp(48*time.Hour)), s.says("an hour ago", stamp(time.Hour))
	open := func(data string) error {
		evt := asMessage(parse(t, data))
		plain, err := a.decrypt(ctx, evt)
		if err == nil && plain == nil {
			err = errors.New("not opened")
		}
		return err
	}
	if err := errors.Join(open(old), open(fresh)); err != nil {
		t.Fatal(err)
	}
	if err := a.forget(ctx); err != nil {
		t.Fatal(err)
	}
	if err := open(old); !errors.Is(err, errHeld) {
		t.Errorf("an old message still opens: %v", err)
	}
	if err := errors.Join(open(fresh), open(s.says("now"))); err != nil {
		t.Error(err)
	}
}

func TestHeldCiphertextExpires(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	now := time.Now()
	acc.cfg.Now = func() time.Time { return now }
	a, s := acc.open(), newSpeaker(t)
	defer a.Close()
	evt := asMessage(parse(t, s.says("x")))
	if err := evt.Content.ParseRaw(event.EventEncrypted); err != nil {
		t.Fatal(err)
	}
	if err := a.store.hold(t.Context(), evt, s.session.ID(), now); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{23 * time.Hour, 1}, {2 * time.Hour, 0}} {
		now = now.Add(step.after)
		if err := a.forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := held(t, a); n != step.want {
			t.Errorf("%d events held, want %d", n, step.want)
		}
	}
}

// A step of an Olm ratchet and what it opened are stored together or not at all.
func TestToDeviceMessageIsStoredWhole(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	alice, bob := acc.open(), newAccount(t, h).open()
	defer alice.Close()
	defer bob.Close()
	ctx := t.Context()
	if err := alice.mach.ShareKeys(ctx, 0); err != nil {
		t.Fatal(err)
	}
	evt := olmEvent(t, bob, alice, newSpeaker(t))

	failing, fail := context.WithCancel(ctx)
	alice.mach.SessionReceived = func(context.Context, id.RoomID, id.SessionID, uint32) { fail() }
	if err := alice.toDevice(failing, []*event.Event{evt}); err == nil {
		t.Fatal("a transaction that failed was taken for stored")
	}
	alice.mach.SessionReceived = alice.keyArrived
	if err := alice.toDevice(ctx, []*event.Event{olmAgain(t, evt)}); err != nil {
		t.Fatal(err)
	}
	if keys := alice.takeArrived(); len(keys) != 1 {
		t.Errorf("the room key did not arrive the second time: %v", keys)
	}
	if err := alice.toDevice(ctx, []*event.Event{olmAgain(t, evt)}); err != nil || len(alice.takeArrived()) != 0 {
		t.Errorf("the same message a third time: %v", err)
	}
}

// olmEvent is a room key from one device to another, in an Olm message.
func olmEvent(t *testing.T, from, to *Adapter, s *speaker) *event.Event {
	t.Helper()
	otks, err := to.mach.GetAccount().Internal.OneTimeKeys()
	if err != nil {
		t.Fatal(err)
	}
	if len(otks) == 0 {
		if err := to.mach.GetAccount().Internal.GenOneTimeKeys(1); err != nil {
			t.Fatal(err)
		}
		if otks, err = to.mach.GetAccount().Internal.OneTimeKeys(); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.store.crypto.PutAccount(t.Context(), to.mach.GetAccount()); err != nil {
		t.Fatal(err)
	}
	var otk id.Curve25519
	for _, key := range otks {
		otk = key
	}
	mine, theirs := from.mach.OwnIdentity(), to.mach.OwnIdentity()
	sess, err := from.mach.GetAccount().Internal.NewOutboundSession(theirs.IdentityKey, otk)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(map[string]any{
		"sender": botID, "keys": map[string]any{"ed25519": mine.SigningKey},
		"recipient": botID, "recipient_keys": map[string]any{"ed25519": theirs.SigningKey},
		"type":    "m.room_key",
		"content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "room_id": roomID, "session_id": s.session.ID(), "session_key": s.key},
	})
	if err != nil {
		t.Fatal(err)
	}
	kind, cipher, err := sess.Encrypt(plain)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, strings.ReplaceAll(ev("m.room.encrypted", botID, fmt.Sprintf(`{"algorithm":"m.olm.v1.curve25519-aes-sha2","sender_key":%q,"ciphertext":{%q:{"type":%d,"body":%q}}}`,
		mine.IdentityKey, theirs.IdentityKey, kind, cipher)), `"event_id":"",`, ""))
}

// olmAgain is the same message as the homeserver would hand it over again.
func olmAgain(t *testing.T, evt *event.Event) *event.Event {
	t.Helper()
	data, err := json.Marshal(evt)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func TestFallbackKeyIsRenewedWhenItIsUsed(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	now := time.Now()
	acc.cfg.Now = func() time.Time { return now }
	a := acc.open()
	defer a.Close()
	for _, step := range []struct {
		unused []id.KeyAlgorithm
		after  time.Duration
		want   int
	}{
		{nil, 0, 0}, // a homeserver without such keys
		{[]id.KeyAlgorithm{}, 0, 1},
		{[]id.KeyAlgorithm{}, time.Minute, 1}, // Dendrite says so every time
		{[]id.KeyAlgorithm{id.KeyAlgorithmSignedCurve25519}, 2 * time.Hour, 1},
		{[]id.KeyAlgorithm{}, 0, 2},
	} {
		now = now.Add(step.after)
		if err := a.fallbackKey(t.Context(), step.unused); err != nil {
			t.Fatal(err)
		}
		if len(h.fallbacks) != step.want {
			t.Errorf("%v: %d uploads, want %d", step, len(h.fallbacks), step.want)
		}
	}
	if h.fallbacks[0] == h.fallbacks[1] || !strings.Contains(h.fallbacks[0], `"signatures"`) {
		t.Errorf("uploaded %q", h.fallbacks)
	}
}

func TestRoomKeysAreSharedAhead(t *testing.T) {
	h := newHomeserver(t)
	a, acc, _ := inRun(t, h, settled(encryption()))
	a.shareAhead(t.Context(), map[id.RoomID]bool{})
	h.mu.Lock()
	if h.called("/sendToDevice/m.room.encrypted/") == nil {
		t.Error("no key was shared")
	}
	h.calls = nil
	h.mu.Unlock()
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutMessage, Text: "x"}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 1 {
		t.Errorf("the message waited for %+v", h.calls)
	}
	acc.checkLog()
}

// Who comes while a room key is being shared gets it, too: it is shared once more.
func TestRoomKeyReachesWhoComesWhileItIsShared(t *testing.T) {
	h := newHomeserver(t)
	a, acc, _ := inRun(t, h, settled(encryption()))
	var once sync.Once
	h.mu.Lock()
	h.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/sendToDevice/m.room.encrypted/") {
			once.Do(func() {
				h.push(inRoom(nil, []string{member("@eve:example.org", "join")}))
				h.handed("s2")
			})
		}
		return false
	}
	h.mu.Unlock()
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutMessage, Text: "x"}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	shared := 0
	for _, c := range h.calls {
		if strings.Contains(c.Path, "/sendToDevice/m.room.encrypted/") {
			shared++
		}
	}
	if shared != 2 {
		t.Errorf("the key was shared %d times, want once more for who came", shared)
	}
	acc.checkLog()
}

// Who was invited before she came gets a key that is shared with the devices that she has when she comes.
func TestRoomKeyIsRenewedWhenWhoWasInvitedComes(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled(encryption(), member("@eve:example.org", "invite")))
	if err := a.shareKey(t.Context(), roomID); err != nil {
		t.Fatal(err)
	}
	first, err := a.store.crypto.GetOutboundGroupSession(t.Context(), roomID)
	if err != nil || first == nil || !first.Shared {
		t.Fatal(first, err)
	}
	h.push(inRoom(nil, []string{member("@eve:example.org", "join", `"unsigned":{"prev_content":{"membership":"invite"}}`)}))
	h.handed("s2")
	if err := a.shareKey(t.Context(), roomID); err != nil {
		t.Fatal(err)
	}
	if next, err := a.store.crypto.GetOutboundGroupSession(t.Context(), roomID); err != nil || next == nil || next.ID() == first.ID() {
		t.Errorf("the key is still that from before she came: %v %v", next, err)
	}
}

// Somebody begins an Olm session with the bot while it shares a room key with her. Until that session is stored, none is there: neither
// for who asks whether a one-time key must be claimed, nor for who then looks for one to encrypt with.
func TestAnOlmSessionCountsOnceItIsStored(t *testing.T) {
	a := alone(t)
	ctx := t.Context()
	key := a.mach.OwnIdentity().IdentityKey // any will do
	begun, err := a.mach.GetAccount().Internal.NewOutboundSession(key, key)
	if err != nil {
		t.Fatal(err)
	}
	stored := func() (has, found bool) {
		t.Helper()
		latest, err := a.store.crypto.GetLatestSession(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return a.store.crypto.HasSession(ctx, key), latest != nil
	}
	err = a.store.txn(ctx, func(ctx context.Context) error {
		if err := a.store.crypto.AddSession(ctx, key, &crypto.OlmSession{Internal: begun}); err != nil {
			return err
		}
		if has, found := stored(); has || found {
			t.Errorf("in the middle: has %v, found %v", has, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if has, found := stored(); !has || !found {
		t.Errorf("in the end: has %v, found %v", has, found)
	}
}
