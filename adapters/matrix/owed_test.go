package matrix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

const olmTo = "/sendToDevice/m.room.encrypted/"

// phone is a device of ana's whose one-time keys the homeserver hands out.
type phone struct {
	t       *testing.T
	keys    *crypto.OlmAccount
	oneTime []id.Curve25519
	claimed int
}

// newPhone makes a device without one-time keys, and the bot know it.
func newPhone(t *testing.T, h *homeserver, a *Adapter) *phone {
	t.Helper()
	p := &phone{t: t, keys: crypto.NewOlmAccount()}
	device := &id.Device{UserID: ana, DeviceID: "PHONE", IdentityKey: p.keys.IdentityKey(), SigningKey: p.keys.SigningKey()}
	if err := a.store.crypto.PutDevices(t.Context(), ana, map[id.DeviceID]*id.Device{device.DeviceID: device}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/keys/query"): // of the others nothing is known
			fmt.Fprint(w, `{"device_keys":{}}`)
			return true
		case !strings.HasSuffix(r.URL.Path, "/keys/claim"):
			return false
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		p.claimed++
		if len(p.oneTime) == 0 {
			fmt.Fprint(w, `{"one_time_keys":{}}`)
			return true
		}
		key := map[string]any{"key": p.oneTime[0]}
		p.oneTime = p.oneTime[1:]
		sig, err := p.keys.SignJSON(key)
		if err != nil {
			t.Error(err)
		}
		key["signatures"] = map[string]any{ana: map[string]any{"ed25519:PHONE": sig}}
		err = json.NewEncoder(w).Encode(map[string]any{"one_time_keys": map[string]any{ana: map[string]any{"PHONE": map[string]any{"signed_curve25519:A": key}}}})
		if err != nil {
			t.Error(err)
		}
		return true
	}
	return p
}

// uploads gives the homeserver one one-time key.
func (p *phone) uploads(h *homeserver) {
	p.t.Helper()
	if err := p.keys.Internal.GenOneTimeKeys(1); err != nil {
		p.t.Fatal(err)
	}
	keys, err := p.keys.Internal.OneTimeKeys()
	if err != nil {
		p.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		p.oneTime = append(p.oneTime, key)
	}
	p.keys.Internal.MarkKeysAsPublished()
}

// opens reads a message to the device, and gives the room key that is in it.
func (p *phone) opens(from id.Curve25519, body string) olm.InboundGroupSession {
	p.t.Helper()
	var sent struct {
		Messages map[string]map[string]struct {
			Ciphertext map[string]struct{ Body string }
		}
	}
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		p.t.Fatal(err)
	}
	cipher := sent.Messages[ana]["PHONE"].Ciphertext[p.keys.IdentityKey().String()].Body
	session, err := p.keys.Internal.NewInboundSessionFrom(&from, cipher)
	if err != nil {
		p.t.Fatalf("%v: %s", err, body)
	}
	plain, err := session.Decrypt(cipher, id.OlmMsgTypePreKey)
	if err != nil {
		p.t.Fatal(err)
	}
	var evt struct {
		Type    string
		Content struct {
			SessionKey string `json:"session_key"`
		}
	}
	if err := json.Unmarshal(plain, &evt); err != nil || evt.Type != "m.room_key" {
		p.t.Fatalf("the device got %s: %v", plain, err)
	}
	key, err := olm.NewInboundGroupSession([]byte(evt.Content.SessionKey))
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// inRoomStopped is an adapter that is in an encrypted room and does not run: nothing is tried besides what the test tries.
func inRoomStopped(t *testing.T, h *homeserver) (*Adapter, *account) {
	t.Helper()
	_, acc, stop := inRun(t, h, settled(encryption()))
	stop()
	a := acc.open()
	t.Cleanup(func() { a.Close() })
	return a, acc
}

// A device whose one-time keys are used up when a room key is shared gets it once it has some again, and reads all that was said with it.
func TestARoomKeyIsHandedOverLate(t *testing.T) {
	h := newHomeserver(t)
	a, acc := inRoomStopped(t, h)
	now := time.Now()
	a.cfg.Now = func() time.Time { return now }
	p := newPhone(t, h, a)
	said, err := a.encrypt(t.Context(), roomID, event.EventMessage, map[string]any{"msgtype": "m.text", "body": "hola"})
	if err != nil {
		t.Fatal(err)
	}
	var sent string // what the device was sent last
	// try pays and says how many keys have been claimed and handed over until then.
	try := func(after time.Duration) (claimed, paid int) {
		t.Helper()
		now = now.Add(after)
		a.payOwed(t.Context())
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.calls {
			if strings.Contains(c.Path, olmTo) && strings.Contains(c.Body, "PHONE") {
				paid, sent = paid+1, c.Body
			}
		}
		return p.claimed, paid
	}
	h.locked(func() int {
		if h.called("/sendToDevice/m.room_key.withheld/") == nil {
			t.Error("the device was not told that it gets no key")
		}
		return 0
	})
	if claimed, paid := try(0); claimed != 2 || paid != 0 {
		t.Errorf("without a one-time key: claimed %d, paid %d", claimed, paid)
	}
	if claimed, _ := try(askAfter - 1); claimed != 2 {
		t.Errorf("tried again at once: claimed %d", claimed)
	}
	p.uploads(h)
	if claimed, paid := try(1); claimed != 3 || paid != 1 {
		t.Fatalf("with a one-time key: claimed %d, paid %d", claimed, paid)
	}
	if claimed, paid := try(owedPause); claimed != 3 || paid != 1 {
		t.Errorf("after that: claimed %d, paid %d", claimed, paid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := p.opens(a.mach.OwnIdentity().IdentityKey, sent)
	if plain, _, err := key.Decrypt(said.MegolmCiphertext); err != nil || !strings.Contains(string(plain), "hola") {
		t.Errorf("what was said before opens as %s: %v", plain, err)
	}
	acc.checkLog()
}

// A key is not owed for ever, and not to a device that is gone.
func TestWhatIsOwedEnds(t *testing.T) {
	h := newHomeserver(t)
	a, _ := inRoomStopped(t, h)
	now := time.Now()
	a.cfg.Now = func() time.Time { return now }
	for _, end := range []func(){
		func() { now = now.Add(owedFor + 1) },
		func() {
			if err := a.store.crypto.PutDevices(t.Context(), ana, map[id.DeviceID]*id.Device{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		p := newPhone(t, h, a)
		if err := a.shareKey(t.Context(), roomID); err != nil {
			t.Fatal(err)
		}
		if len(a.owed) != 1 {
			t.Fatalf("owed are %v", a.owed)
		}
		end()
		p.uploads(h)
		a.payOwed(t.Context())
		if p.claimed != 1 || len(a.owed) != 0 {
			t.Errorf("claimed %d, still owed %v", p.claimed, a.owed)
		}
		if err := a.store.crypto.RemoveOutboundGroupSession(t.Context(), roomID); err != nil {
			t.Fatal(err)
		}
	}
}

// Who got a room key is forgotten with it, and no sooner: a device that is not known to have got it is refused when it asks again.
func TestWhoGotARoomKeyIsForgottenWithIt(t *testing.T) {
	h := newHomeserver(t)
	a, _ := inRoomStopped(t, h)
	now := time.Now()
	a.cfg.Now = func() time.Time { return now }
	forget := func() {
		if err := a.forget(t.Context()); err != nil {
			t.Error(err)
		}
	}
	newPhone(t, h, a)
	h.mu.Lock()
	answer := h.refuse
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/sendToDevice/m.room_key.withheld/") {
			forget()
		}
		return answer(w, r)
	}
	h.mu.Unlock()
	later := func() error { now = now.Add(keyLife * 2 / 3); return nil }
	for _, step := range []struct {
		name string
		do   func() error
		want int
	}{
		{"while it is shared", func() error { return a.shareKey(t.Context(), roomID) }, 1},
		{"in use, some hours later", later, 1},
		{"in use, after more than a day", later, 1},
		{"no longer in use", func() error { return a.store.crypto.RemoveOutboundGroupSession(t.Context(), roomID) }, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		forget()
		var known int
		if err := a.store.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM crypto_megolm_outbound_session_shared`).Scan(&known); err != nil {
			t.Fatal(err)
		}
		if known != step.want {
			t.Errorf("%s: %d devices are known to have got the key, want %d", step.name, known, step.want)
		}
	}
}
