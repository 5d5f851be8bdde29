package signal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"starling/bot"
)

// Who is in testdata/received.jsonl, which the real signal-cli 0.13.19 told a bot in a group of ana's, where luc is, too.
const (
	own     = "+14154942599"
	me      = "02093dea-e354-4d1b-92f5-6ca5fe1e867c"
	ana     = "fc1b298a-ff69-479a-90e8-5c3979446988"
	anaCall = "+14154965291"
	luc     = "beb671c7-3fa1-429f-b529-fbbd54cc2fab"
	groupID = "G6BiV3pMxTKexNO48OmpOZWA/TLloFcS8XyolXegu34="
)

// answers is a link whose calls are answered as it says; nothing is received over it.
type answers func(method string, params map[string]any) (json.RawMessage, error)

func (f answers) call(_ context.Context, method string, params map[string]any, out any) error {
	result, err := f(method, params)
	if err != nil || out == nil || result == nil {
		return err
	}
	return json.Unmarshal(result, out)
}
func (f answers) next(ctx context.Context) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (f answers) finish() {}
func (f answers) close()  {}

// inGroup answers as signal-cli does for a bot that ana and luc have in their group.
func inGroup(method string, _ map[string]any) (json.RawMessage, error) {
	switch method {
	case "listAccounts":
		return json.RawMessage(`[{"number":"` + own + `"}]`), nil
	case "listGroups":
		return json.RawMessage(`[{"id":"` + groupID + `","name":"Barcelona","isMember":true,"members":[{"uuid":"` + ana + `","number":"` + anaCall + `"},{"uuid":"` + luc + `"},{"uuid":"` + me + `"}],"admins":[{"uuid":"` + ana + `"}]}]`), nil
	case "listIdentities":
		return json.RawMessage(`[{"trustLevel":"UNTRUSTED"}]`), nil
	case "getAttachment":
		return json.RawMessage(`{"data":"d2hvbGU="}`), nil
	case "listContacts":
		return json.RawMessage(`[{"uuid":"` + luc + `","number":"+14155550123","profile":{"givenName":"luc","familyName":null}},{"uuid":"` + ana + `","profile":{"givenName":"ana"}}]`), nil
	}
	return nil, nil
}

// engine keeps what it is given.
type engine struct {
	mu  sync.Mutex
	got []bot.Incoming
}

func (e *engine) Deliver(_ context.Context, in ...bot.Incoming) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, in...)
	return nil
}
func (e *engine) Rooms(context.Context, string) ([]string, error) { return []string{groupID}, nil }
func (e *engine) InviterAllowance(context.Context, string, string, int) (bool, error) {
	return true, nil
}
func (e *engine) Unstored(...bot.Incoming) {}

func (e *engine) took() []bot.Incoming {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := e.got
	e.got = nil
	return got
}

// told is what people are told, by name: what is told beside a call comes in any order.
func (e *engine) told(t *testing.T) (all []any) {
	t.Helper()
	for _, in := range e.took() {
		if in.Notice == nil || in.Room != groupID && !in.Notice.Operators {
			t.Errorf("in no room of theirs: %+v", in)
			continue
		}
		all = append(all, in.Notice.Message)
	}
	slices.SortFunc(all, func(x, y any) int { return strings.Compare(fmt.Sprintf("%T", x), fmt.Sprintf("%T", y)) })
	return all
}

// attached is an adapter that is linked, in ana's group.
func attached(t testing.TB, l link) (*Adapter, *engine) {
	t.Helper()
	a, err := New(Config{Account: own, Address: "unix:none", StateDir: t.TempDir(), Invite: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{}
	a.inbox, a.link, a.me = e, l, me
	close(a.up)
	if err := a.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, e
}

// numbered is whether something names a person by her number.
func numbered(in any) bool {
	b, err := json.Marshal(in)
	return err != nil || strings.Contains(string(b), anaCall) || strings.Contains(string(b), own) || strings.Contains(string(b), "+14155550123")
}
