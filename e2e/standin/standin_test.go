package standin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "go.mau.fi/util/dbutil/litestream"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/cryptohelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// start serves a stand-in and logs a mautrix client in, as the bot's adapter does.
func start(t *testing.T, options Options) (*Server, *mautrix.Client) {
	t.Helper()
	s := New(options)
	url, stop, err := s.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() }) // it says that it was closed
	s.Account("bot", "secret")
	client, err := mautrix.NewClient(url, "", "")
	if err != nil {
		t.Fatal(err)
	}
	client.DefaultHTTPRetries = 0
	_, err = client.Login(t.Context(), &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: "bot"},
		Password: "secret", StoreCredentials: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, client
}

// synced runs the client's sync until the test ends.
func synced(t *testing.T, client *mautrix.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.SyncWithContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestABotIsInvitedJoinsHearsAndAnswers(t *testing.T) {
	s, client := start(t, Options{})
	ctx := patient(t)
	const ana = "@ana:" + Name
	room := s.Room("Barcelona", map[string]int{ana: 100})
	bot := client.UserID

	answered := make(chan id.EventID, 1)
	syncer := client.Syncer.(*mautrix.DefaultSyncer)
	syncer.OnEventType(event.StateMember, func(ctx context.Context, e *event.Event) {
		if e.GetStateKey() == bot.String() && e.Content.AsMember().Membership == event.MembershipInvite {
			if _, err := client.JoinRoomByID(ctx, e.RoomID); err != nil {
				t.Error(err)
			}
		}
	})
	syncer.OnEventType(event.EventMessage, func(ctx context.Context, e *event.Event) {
		if e.Sender == bot {
			return
		}
		sent, err := client.SendText(ctx, e.RoomID, "heard: "+e.Content.AsMessage().Body)
		if err != nil {
			t.Error(err)
			return
		}
		answered <- sent.EventID
	})
	synced(t, client)

	s.Membership(room, ana, bot.String(), "invite")
	if err := s.WaitMember(ctx, room, bot.String(), "join"); err != nil {
		t.Fatal(err)
	}
	s.Say(room, ana, "hola")
	answer, err := s.Wait(ctx, room, func(e Event) bool { return e.Text() == "heard: hola" })
	if err != nil {
		t.Fatal(err)
	}
	if sent := <-answered; answer.ID != sent.String() || answer.Sender != bot.String() || answer.Txn == "" || answer.At.IsZero() {
		t.Errorf("the answer is %+v, want what the bot sent, with transaction id and time", answer)
	}
	if unknown := s.Stats().Unknown; len(unknown) > 0 {
		t.Errorf("mautrix asks for what is not served: %v", unknown)
	}
}

func TestEncryptionCanBeSetUpAndIsCrossSigned(t *testing.T) {
	s, client := start(t, Options{})
	ctx := patient(t)
	helper, err := cryptohelper.NewCryptoHelper(client, []byte("pickle"), filepath.Join(t.TempDir(), "crypto.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Init(ctx); err != nil {
		t.Fatal(err)
	}
	defer helper.Close()
	machine := helper.Machine()
	if err := machine.ShareKeys(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := machine.GenerateAndUploadCrossSigningKeysWithPassword(ctx, "secret", ""); err != nil {
		t.Fatal(err)
	}
	if err := machine.SignOwnDevice(ctx, machine.OwnIdentity()); err != nil {
		t.Fatal(err)
	}
	if err := machine.SignOwnMasterKey(ctx); err != nil {
		t.Fatal(err)
	}
	keys, err := client.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{client.UserID: {}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(keys.DeviceKeys[client.UserID][client.DeviceID].Signatures[client.UserID]); n != 2 {
		t.Errorf("the device bears %d signatures, want its own and the self-signing key's", n)
	}
	master := keys.MasterKeys[client.UserID]
	if n := len(master.Signatures[client.UserID]); n == 0 {
		t.Error("the master key is not signed by the device")
	}
	if unknown := s.Stats().Unknown; len(unknown) > 0 {
		t.Errorf("mautrix asks for what is not served: %v", unknown)
	}
}

func TestTheSameTransactionShowsOnce(t *testing.T) {
	s, client := start(t, Options{})
	room := s.Room("one", map[string]int{client.UserID.String(): 0})
	var first id.EventID
	for range 3 {
		sent, err := client.SendMessageEvent(t.Context(), id.RoomID(room), event.EventMessage,
			&event.MessageEventContent{MsgType: event.MsgNotice, Body: "once"}, mautrix.ReqSendEvent{TransactionID: "row-7"})
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = sent.EventID
		}
		if sent.EventID != first {
			t.Errorf("event %s, want %s again", sent.EventID, first)
		}
	}
	shown := 0
	for _, e := range s.Events(room) {
		if e.Text() == "once" {
			shown++
		}
	}
	if repeated := s.Stats().Repeated; shown != 1 || repeated != 2 {
		t.Errorf("shown %d times with %d repetitions, want 1 and 2", shown, repeated)
	}
}

func TestALimitedSyncCanBeFilledThroughMessages(t *testing.T) {
	s, client := start(t, Options{})
	room := s.Room("busy", map[string]int{client.UserID.String(): 0})
	before, err := client.SyncRequest(t.Context(), 0, "", "", false, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		s.Say(room, "@ana:"+Name, fmt.Sprint("message ", i))
	}
	after, err := client.SyncRequest(t.Context(), 0, before.NextBatch, "", false, "")
	if err != nil {
		t.Fatal(err)
	}
	timeline := after.Rooms.Join[id.RoomID(room)].Timeline
	if !timeline.Limited || len(timeline.Events) != defaultLimit {
		t.Fatalf("limited %v with %d events, want limited with %d", timeline.Limited, len(timeline.Events), defaultLimit)
	}
	seen := len(timeline.Events)
	for from := timeline.PrevBatch; from != ""; {
		page, err := client.Messages(t.Context(), id.RoomID(room), from, before.NextBatch, mautrix.DirectionBackward, nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(page.Chunk)
		from = page.End
	}
	if seen != 50 {
		t.Errorf("seen %d messages, want 50", seen)
	}
}

func TestCallsTakeTheDelayAndGoSideBySide(t *testing.T) {
	const delay = 30 * time.Millisecond
	s, client := start(t, Options{Delay: delay})
	slow := s.Room("slow", map[string]int{client.UserID.String(): 0})
	s.Slow(slow, 5*delay)
	rooms := []string{slow}
	for range 20 {
		rooms = append(rooms, s.Room("quick", map[string]int{client.UserID.String(): 0}))
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, room := range rooms {
		all.Go(func() {
			if _, err := client.SendText(t.Context(), id.RoomID(room), "hi"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, room := range rooms {
		arrived := func(e Event) bool { return e.Text() == "hi" }
		e, err := s.Wait(patient(t), room, arrived)
		if err != nil {
			t.Fatal(err)
		}
		least := delay
		if i == 0 {
			least = 6 * delay
		}
		if took := e.At.Sub(began); took < least {
			t.Errorf("room %d heard after %v, want at least %v", i, took, least)
		}
	}
	if took := time.Since(began); took > 20*delay {
		t.Errorf("21 calls took %v: one after the other", took)
	}
	if flying := s.Stats().InFlight; flying < 2 {
		t.Errorf("at most %d calls at once, want more", flying)
	}
}

func TestRateLimitSaysWhenToComeBack(t *testing.T) {
	s, client := start(t, Options{Limit: Limit{Rate: 0.2, Burst: 10}})
	now := time.Now()
	s.now = func() time.Time { return now }
	room := id.RoomID(s.Room("one", map[string]int{client.UserID.String(): 0}))
	client.IgnoreRateLimit = true
	for range 10 {
		if _, err := client.SendText(t.Context(), room, "hi"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.SendText(t.Context(), room, "too much")
	var refused mautrix.HTTPError
	if !errors.As(err, &refused) || refused.RespError == nil || refused.RespError.ErrCode != "M_LIMIT_EXCEEDED" {
		t.Fatalf("the eleventh message: %v, want M_LIMIT_EXCEEDED", err)
	}
	if after := refused.RespError.ExtraData["retry_after_ms"]; after != 5000.0 {
		t.Errorf("retry_after_ms %v, want 5000", after)
	}
	now = now.Add(5000 * time.Millisecond)
	if _, err := client.SendText(t.Context(), room, "again"); err != nil {
		t.Error(err)
	}
	if limited := s.Stats().Limited; limited != 1 {
		t.Errorf("%d refusals counted, want 1", limited)
	}
}

func TestFaultsBreakCallsAsAsked(t *testing.T) {
	var now atomic.Pointer[Fault]
	now.Store(&Fault{})
	s, client := start(t, Options{Fault: func(c Call) Fault {
		if c.Op != "send" {
			return Fault{}
		}
		return *now.Load()
	}})
	room := s.Room("one", map[string]int{client.UserID.String(): 0})
	for _, c := range []struct {
		name   string
		fault  Fault
		status int
		done   bool // the message is in the room although the caller got an error
	}{
		{"502", Fault{Status: http.StatusBadGateway}, http.StatusBadGateway, false},
		{"a proxy's 502", Fault{Status: http.StatusBadGateway, Body: "<html>Bad gateway</html>"}, http.StatusBadGateway, false},
		{"garbage", Fault{Body: "<html>It works!</html>"}, 0, false},
		{"garbage when done", Fault{Body: `{"event_id":"$`, Done: true}, 0, true},
		{"silence", Fault{Cut: Silently}, 0, false},
		{"silence when done", Fault{Cut: Silently, Done: true}, 0, true},
		{"half an answer", Fault{Cut: Midway, Done: true}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			now.Store(&c.fault)
			_, err := client.SendText(t.Context(), id.RoomID(room), c.name)
			if err == nil {
				t.Fatal("the call succeeded")
			}
			var refused mautrix.HTTPError
			if c.status != 0 && (!errors.As(err, &refused) || refused.Response.StatusCode != c.status) {
				t.Errorf("error %v, want status %d", err, c.status)
			}
			done := false
			for _, e := range s.Events(room) {
				done = done || e.Text() == c.name
			}
			if done != c.done {
				t.Errorf("in the room: %v, want %v", done, c.done)
			}
		})
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	s := New(Options{})
	room := s.Room("busy", nil)
	for range 3 * maxEvents {
		s.Say(room, "@ana:"+Name, "again")
	}
	if n := len(s.Events(room)); n > 2*maxEvents {
		t.Errorf("%d events are kept, want at most %d", n, 2*maxEvents)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 2 * maxTxns {
		s.remember(fmt.Sprint(i), "$event")
	}
	if n := len(s.txns) + len(s.oldTxns); n > maxTxns {
		t.Errorf("%d transaction ids are kept, want at most %d", n, maxTxns)
	}
	if _, ok := s.remembered(fmt.Sprint(2*maxTxns - 1)); !ok {
		t.Error("the newest transaction id is forgotten")
	}
}

// TestTheMeterIsSynapses holds it to what Synapse's own tests say of its limiter, and to what its defaults mean.
func TestTheMeterIsSynapses(t *testing.T) {
	start := time.Now()
	var m meter
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	slow := Limit{Rate: 0.1, Burst: 1}
	for _, c := range []struct {
		at, next float64
		ok       bool
	}{{0, 0, true}, {5, 5, false}, {10, 0, true}, {10.5, 9.5, false}, {60, 0, true}} {
		wait, ok := m.take(at(c.at), slow)
		if ok != c.ok || wait != time.Duration(c.next*float64(time.Second)) {
			t.Errorf("at %v: %v %v, want %v %vs", c.at, ok, wait, c.ok, c.next)
		}
	}
	// As it ships: ten at once, then one in five seconds; refusals cost nothing.
	var sent []float64
	m = meter{}
	for s := 0.0; len(sent) < 15; s += 0.25 {
		if _, ok := m.take(at(s), Synapse()); ok {
			sent = append(sent, s)
		}
	}
	if sent[9] != 2.25 || sent[10] != 5 || sent[14] != 25 {
		t.Errorf("sent at %v", sent)
	}
}
