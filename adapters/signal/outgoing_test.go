package signal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
	"starling/locales"
)

func TestStylesAreMeasuredInUTF16(t *testing.T) {
	for text, want := range map[string][]string{
		"**a** b":          {"0:1:BOLD"},
		"🌊 **a🌊** `x`":     {"3:3:BOLD", "7:1:MONOSPACE"},
		"مرحبا **يا** _ن_": {"6:2:BOLD", "9:1:ITALIC"},
		"plain":            {},
	} {
		plain, got := styled(text)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q, shown as %q (-want +got)\n%s", text, plain, d)
		}
	}
}

// What signal-cli answers decides what becomes of a message: the shapes are those of the real one.
func TestEveryAnswerIsRead(t *testing.T) {
	result := func(types ...string) string {
		var all []string
		for _, one := range types {
			all = append(all, `{"recipientAddress":{"uuid":"`+luc+`"},"type":"`+one+`"}`)
		}
		return `{"timestamp":7,"results":[` + strings.Join(all, ",") + `]}`
	}
	limited := func(after time.Duration) Limited {
		return Limited{Until: locales.Clock{At: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(after)}} // where a bubble's time begins
	}
	for _, c := range []struct {
		name, answer string
		err          *rpcError
		trust        string
		room         string
		want         *bot.SendError // nil: it counts as said
		told         []any          // by name
	}{
		{name: "all have it", answer: result("SUCCESS", "SUCCESS")},
		{name: "nobody else is there", answer: result()},
		{name: "one is gone", answer: result("SUCCESS", "UNREGISTERED_FAILURE"), told: []any{NotOnSignal{1}}},
		{name: "all are gone", answer: result("UNREGISTERED_FAILURE"), told: []any{NotOnSignal{1}}},
		{name: "she is gone", answer: result("UNREGISTERED_FAILURE"), room: luc, want: &bot.SendError{Permanent: true, Gone: true}},
		{name: "nobody has it", answer: result("NETWORK_FAILURE"), want: &bot.SendError{}},
		{name: "a new number is asked about", answer: result("IDENTITY_FAILURE"), trust: TrustAsk, want: &bot.SendError{Unseen: true, After: time.Minute}, told: []any{MayTrust{}}},
		{name: "a new number is taken", answer: result("IDENTITY_FAILURE"), want: &bot.SendError{Unseen: true}, told: []any{NewNumber{}}},
		{name: "limited", answer: `{"results":[{"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":90}]}`, want: &bot.SendError{Account: true, After: 90 * time.Second}, told: []any{limited(90 * time.Second)}},
		{name: "limited for ever", answer: `{"results":[{"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":9000000000}]}`, want: &bot.SendError{Account: true, After: longestOff}, told: []any{limited(longestOff)}},
		{name: "limited for one of two", answer: `{"results":[{"type":"SUCCESS"},{"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":90}]}`, told: []any{limited(90 * time.Second), Missed{1}}},
		{name: "the line broke for one of two", answer: result("SUCCESS", "NETWORK_FAILURE"), told: []any{Missed{1}}},
		{name: "two of three in ways that nobody knows", answer: result("SUCCESS", "NEW_FAILURE", ""), told: []any{Missed{2}}},
		{name: "a new number beside one that is known", answer: result("SUCCESS", "IDENTITY_FAILURE"), told: []any{Missed{1}, NewNumber{}}},
		{name: "one that is asked about beside one that is known", answer: result("SUCCESS", "IDENTITY_FAILURE"), trust: TrustAsk, told: []any{MayTrust{}}},
		{name: "of all kinds", answer: result("SUCCESS", "IDENTITY_FAILURE", "NETWORK_FAILURE", "UNREGISTERED_FAILURE", "RATE_LIMIT_FAILURE"), told: []any{limited(limitedFor), Missed{3}, NewNumber{}, NotOnSignal{1}}},
		{name: "one is gone, one limited", answer: result("UNREGISTERED_FAILURE", "RATE_LIMIT_FAILURE"), want: &bot.SendError{Account: true, After: limitedFor}, told: []any{limited(limitedFor), NotOnSignal{1}}},
		{name: "nobody has it, in two ways", answer: result("NETWORK_FAILURE", "NEW_FAILURE"), want: &bot.SendError{}},
		{name: "limited as an error", err: &rpcError{Code: -5}, want: &bot.SendError{Account: true, After: limitedFor}, told: []any{limited(limitedFor)}},
		{name: "limited in a group", err: &rpcError{Code: -32603, Message: "x (RateLimitException)"}, want: &bot.SendError{Account: true, Perhaps: true, After: limitedFor}, told: []any{limited(limitedFor)}},
		{name: "proof in a group", err: &rpcError{Code: -32603, Message: "x (ProofRequiredException)"}, want: &bot.SendError{Account: true, Perhaps: true, After: proofFor}, told: []any{Captcha{}}},
		{name: "all failed, with results", err: &rpcError{Code: -1, Message: "Failed to send message", Data: json.RawMessage(`{"response":` + result("NETWORK_FAILURE") + `}`)}, want: &bot.SendError{}},
		{name: "too old", err: &rpcError{Code: -3, Message: "StatusCode: 499"}, want: &bot.SendError{Account: true, After: 10 * time.Minute}, told: []any{Expired{}}},
		{name: "put out", err: &rpcError{Code: -32603, Message: "x (AuthorizationFailedException)"}, want: &bot.SendError{Account: true, Perhaps: true, After: time.Minute}, told: []any{Unlinked{}}},
		{name: "removed", err: &rpcError{Code: -1, Message: "User is not a group member"}, want: &bot.SendError{Permanent: true, Gone: true}},
		{name: "nonsense", err: &rpcError{Code: -32602, Message: "x"}, want: &bot.SendError{Permanent: true}},
		{name: "no line", err: &rpcError{Code: -3, Message: "x"}, want: &bot.SendError{}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				if method != "send" {
					return inGroup(method, params)
				}
				if c.err != nil {
					return nil, c.err
				}
				return json.RawMessage(c.answer), nil
			}))
			e.took()
			a.cfg.Trust = c.trust
			room := c.room
			if room == "" {
				room = groupID
			}
			_, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: room, Text: "hello"})
			var got *bot.SendError
			errors.As(err, &got)
			if (got == nil) != (c.want == nil) || (got == nil) != (err == nil) {
				t.Fatalf("got %v, want %+v", err, c.want)
			}
			if got != nil {
				got.Err = nil
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			synctest.Wait()
			if d := cmp.Diff(c.told, e.told(t)); d != "" {
				t.Errorf("people are told (-want +got)\n%s", d)
			}
		})
	}
}

// A person is named to a group only where she has written; what cannot be read is told where it was, or else where she writes.
func TestAPersonIsNamedOnlyWhereSheHasWritten(t *testing.T) {
	groups := []string{"a", "b", "c", "d", "e", "f"} // of which ana and luc are in all, and ana writes in d
	a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method != "listGroups" {
			return inGroup(method, params)
		}
		var all []string
		for _, g := range groups {
			all = append(all, `{"id":"`+g+`","isMember":true,"members":[{"uuid":"`+ana+`"},{"uuid":"`+luc+`"}]}`)
		}
		return json.RawMessage("[" + strings.Join(all, ",") + "]"), nil
	}))
	for _, g := range groups {
		a.rooms[g] = true
	}
	if err := a.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.take(t.Context(), json.RawMessage(`{"envelope":{"sourceUuid":"`+ana+`","timestamp":5,"dataMessage":{"message":"hello","groupInfo":{"groupId":"d","type":"DELIVER"}}}}`)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, person, exception, data string
		want                          []string
	}{
		{"unreadable", ana, "ProtocolInvalidMessageException", "", []string{`d signal.UnreadableHere{Name:"ana"}`}},
		{"of who never wrote", luc, "ProtocolInvalidMessageException", "", []string{`a signal.UnreadableHere{Name:""}`}},
		{"in another group", ana, "ProtocolInvalidMessageException", `,"dataMessage":{"groupInfo":{"groupId":"e"}}`, []string{`e signal.UnreadableHere{Name:""}`}},
		{"in a group that is not ours", ana, "ProtocolInvalidMessageException", `,"dataMessage":{"groupInfo":{"groupId":"x"}}`, nil},
		{"a new number", ana, "UntrustedIdentityException", "", []string{
			`a signal.NewNumber{Name:""}`, `b signal.NewNumber{Name:""}`, `c signal.NewNumber{Name:""}`, `d signal.NewNumber{Name:"ana"}`, `e signal.NewNumber{Name:""}`,
			`a signal.WriteAgain{Name:""}`, `b signal.WriteAgain{Name:""}`, `c signal.WriteAgain{Name:""}`, `d signal.WriteAgain{Name:"ana"}`, `e signal.WriteAgain{Name:""}`}},
		{"a new number in a group", ana, "UntrustedIdentityException", `,"dataMessage":{"groupInfo":{"groupId":"d"}}`, []string{`d signal.NewNumber{Name:"ana"}`, `d signal.WriteAgain{Name:"ana"}`}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			e.took()
			if err := a.take(t.Context(), json.RawMessage(`{"exception":{"type":"`+c.exception+`"},"envelope":{"sourceUuid":"`+c.person+`","timestamp":6`+c.data+`}}`)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			var got []string
			for _, in := range e.took() {
				if in.Kind == bot.KindNotice {
					got = append(got, fmt.Sprintf("%s %#v", in.Room, in.Notice.Message))
				}
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// With trust = "ask" a new safety number is asked about in a group of hers, never in her own chat. Who shares no group is answered on the
// new one, for there is nobody to ask; unless it is not known whether she shares one.
func TestWhoIsAskedAboutANewSafetyNumber(t *testing.T) {
	const alone = "11111111-2222-4333-8444-555555555555"
	untrusted := func(person string) func(ctx context.Context, a *Adapter) {
		return func(ctx context.Context, a *Adapter) {
			_ = a.take(ctx, json.RawMessage(`{"exception":{"type":"UntrustedIdentityException"},"envelope":{"sourceUuid":"`+person+`","timestamp":6}}`))
		}
	}
	said := func(person string) func(ctx context.Context, a *Adapter) {
		return func(ctx context.Context, a *Adapter) {
			_, _ = a.Send(ctx, bot.Outgoing{Kind: bot.OutMessage, Room: person, Text: "hello"})
		}
	}
	for _, c := range []struct {
		name    string
		happens func(ctx context.Context, a *Adapter)
		away    bool // signal-cli says nothing of groups
		fresh   bool // the adapter knows of none yet
		theirs  bool // somebody took her into another group, and the bot; she has written in the first
		want    []string
	}{
		{name: "she writes, and shares only a direct chat", happens: untrusted(alone), want: []string{alone + " signal.WriteAgain", alone + " signal.YourNewNumber", "trust"}},
		{name: "she is written to, and shares only a direct chat", happens: said(alone), want: []string{alone + " signal.YourNewNumber", "trust"}},
		{name: "she writes, and shares a group", happens: untrusted(luc), want: []string{groupID + " signal.MayTrust"}},
		{name: "she is written to, and shares a group", happens: said(luc), want: []string{groupID + " signal.MayTrust"}},
		{name: "she is written to at the start", happens: said(luc), fresh: true, want: []string{groupID + " signal.MayTrust"}},
		{name: "she writes, in whose group she was put, too", happens: untrusted(luc), theirs: true, want: []string{groupID + " signal.MayTrust"}},
		{name: "she is written to in a group in which she was put", happens: said("theirs"), theirs: true, want: []string{groupID + " signal.MayTrust", "theirs signal.Missed"}},
		{name: "nobody knows", happens: said(alone), away: true},
	} {
		bubble(t, c.name, func(t *testing.T) {
			var got []string
			learnt := false
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				switch {
				case method == "send" && params["groupId"] != nil:
					return json.RawMessage(`{"results":[{"recipientAddress":{"uuid":"` + luc + `"},"type":"IDENTITY_FAILURE"},{"recipientAddress":{"uuid":"` + ana + `"},"type":"SUCCESS"}]}`), nil
				case method == "send":
					return json.RawMessage(`{"results":[{"recipientAddress":{"uuid":"` + params["recipient"].([]string)[0] + `"},"type":"IDENTITY_FAILURE"}]}`), nil
				case method == "trust":
					got = append(got, method)
				case method == "listGroups" && learnt && c.away:
					return nil, errDown
				}
				return inGroup(method, params)
			}))
			learnt = true
			a.cfg.Trust = TrustAsk
			a.rooms[alone], a.rooms[luc] = true, true
			if c.fresh {
				clear(a.groups)
			}
			if c.theirs {
				g := *a.groups[groupID]
				a.groups["theirs"], a.rooms["theirs"] = &g, true
				a.wrote[[2]string{groupID, luc}] = true
			}
			e.took()
			c.happens(t.Context(), a)
			synctest.Wait()
			for _, in := range e.took() {
				if (in.Notice.Ask != nil) != (in.Room == groupID) {
					t.Errorf("in %s it is asked %+v", in.Room, in.Notice.Ask)
				}
				got = append(got, fmt.Sprintf("%s %T", in.Room, in.Notice.Message))
			}
			slices.Sort(got)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// bubble is a test whose goroutines can be waited for.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// An answer that was lost is no refusal: people may have the message, and the engine must say that the repeat may be one. Where
// signal-cli was away before, nobody has it.
func TestALostAnswerIsNoRefusal(t *testing.T) {
	l, err := dial(t.Context(), daemonSays(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	a, _ := attached(t, answers(inGroup))
	a.link = ending{l}
	for _, refused := range []bool{false, true} {
		_, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"})
		var s *bot.SendError
		if !errors.As(err, &s) || s.Account != refused || s.Permanent {
			t.Errorf("got %+v, want that it counts as refused: %v", err, refused)
		}
	}
}

// ending is a link that ends in the middle of a call.
type ending struct{ link }

func (e ending) call(ctx context.Context, _ string, params map[string]any, out any) error {
	return e.link.call(ctx, "end", params, out)
}

// Where Signal does not say for how long it takes nothing, it is left alone twice as long each time, up to an hour, and until it takes
// something; calls that were under way together are refused once.
func TestALimitWithoutATimeIsWaitedForLongerEachTime(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		answer := ""
		a, _ := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
			switch {
			case method != "send":
				return inGroup(method, params)
			case answer == "":
				return nil, &rpcError{Code: -5}
			}
			return json.RawMessage(answer), nil
		}))
		send := func() (after time.Duration) {
			_, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"})
			var s *bot.SendError
			if errors.As(err, &s) {
				after = s.After
			}
			return after
		}
		for range 2 {
			for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				if got := send(); got != want*time.Minute {
					t.Errorf("it waits %v, want %v", got, want*time.Minute)
				}
				var s *bot.SendError // of a call that was under way meanwhile
				if err := a.failed(t.Context(), bot.Outgoing{Room: groupID}, &rpcError{Code: -5}); !errors.As(err, &s) || s.After != want*time.Minute {
					t.Errorf("a call beside it waits %+v, want %v", s, want*time.Minute)
				}
				time.Sleep(want * time.Minute)
			}
			answer = `{"results":[{"type":"SUCCESS"},{"type":"RATE_LIMIT_FAILURE"}]}` // it took it for some only
			send()
			if left := time.Until(a.refusedUntil()); left != time.Hour {
				t.Errorf("it waits %v, want an hour", left)
			}
			time.Sleep(time.Hour)
			answer = `{"results":[{"type":"SUCCESS"}]}`
			if got := send(); got != 0 {
				t.Errorf("what Signal takes waits %v", got)
			}
			answer = ""
		}
		synctest.Wait()
	})
}

// A challenge is kept where `starling signal captcha` finds it, and until somebody gave the proof nothing is asked of Signal.
func TestAChallengeIsKept(t *testing.T) {
	sent := 0
	a, _ := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method == "send" {
			sent++
			return json.RawMessage(`{"results":[{"type":"RATE_LIMIT_FAILURE","token":"a-token","retryAfterSeconds":600}]}`), nil
		}
		return inGroup(method, params)
	}))
	for range 2 {
		var err *bot.SendError
		if _, e := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"}); !errors.As(e, &err) || !err.Account {
			t.Fatalf("got %v, want that the account waits", e)
		}
	}
	if kept, err := os.ReadFile(filepath.Join(a.cfg.StateDir, challengeFile)); err != nil || string(kept) != "a-token\n" || sent != 1 {
		t.Errorf("kept %q, %v; %d calls, want 1", kept, err, sent)
	}
}

// Of a message to a group signal-cli does not tell the challenge: a note to the account itself does, and nothing else is sent for it.
func TestAGroupsChallengeIsLearntFromANoteToSelf(t *testing.T) {
	var notes []map[string]any
	a, _ := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		switch {
		case method == "send" && params["noteToSelf"] == true:
			notes = append(notes, params)
			return nil, &rpcError{Code: -5, Message: "x", Data: json.RawMessage(`{"response":{"results":[{"type":"RATE_LIMIT_FAILURE","token":"a-token","retryAfterSeconds":86000}]}}`)}
		case method == "send":
			return nil, &rpcError{Code: -32603, Message: "x (ProofRequiredException)"}
		}
		return inGroup(method, params)
	}))
	if _, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"}); err == nil {
		t.Fatal("the group's message counts as sent")
	}
	if kept, err := os.ReadFile(filepath.Join(a.cfg.StateDir, challengeFile)); err != nil || string(kept) != "a-token\n" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if len(notes) != 1 || notes[0]["message"] != noteToSelf || notes[0]["groupId"] != nil || notes[0]["recipient"] != nil {
		t.Errorf("the notes are %v", notes)
	}
	if left := time.Until(a.refused); left < 85990*time.Second {
		t.Errorf("it waits for %v, and Signal said a day", left)
	}
}

// Where the challenge cannot be kept, or is not kept yet, that it is not there does not mean that proof was given.
func TestAChallengeThatCannotBeKeptIsNoProof(t *testing.T) {
	sent := 0
	a, _ := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method == "send" {
			sent++
			return json.RawMessage(`{"results":[{"type":"RATE_LIMIT_FAILURE","token":"a-token","retryAfterSeconds":600}]}`), nil
		}
		return inGroup(method, params)
	}))
	a.cfg.StateDir = filepath.Join(a.cfg.StateDir, "gone")
	for range 2 {
		var err *bot.SendError
		if _, e := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"}); !errors.As(e, &err) || !err.Account || err.After < 9*time.Minute {
			t.Fatalf("got %+v, want that the account waits as long as Signal said", err)
		}
	}
	if sent != 1 {
		t.Errorf("Signal was asked %d times", sent)
	}
}

// FuzzAnswer: whatever signal-cli answers to a send, nothing breaks, and no word of its error reaches a log.
func FuzzAnswer(f *testing.F) {
	f.Add(-1, "Failed to send message +14155550123", `{"response":{"results":[{"type":"IDENTITY_FAILURE","recipientAddress":{"uuid":"`+luc+`"}}]}}`)
	f.Add(-32603, "ProofRequiredException", `null`)
	f.Add(0, "", `{"results":[{"type":"RATE_LIMIT_FAILURE","token":"x","retryAfterSeconds":-9223372036854775808}],"timestamp":-1}`)
	var code int
	var message, data string
	a, _ := attached(f, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method != "send" {
			return inGroup(method, params)
		}
		if code != 0 {
			return nil, &rpcError{Code: code, Message: message, Data: json.RawMessage(data)}
		}
		return json.RawMessage(data), nil
	}))
	f.Fuzz(func(t *testing.T, c int, m, d string) {
		code, message, data = c, m, d
		a.refused = time.Time{}
		_, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutMessage, Room: groupID, Text: "hello"})
		var s *bot.SendError
		if err != nil && (!errors.As(err, &s) || len(m) > 60 && strings.Contains(err.Error(), m) || s.After < 0 || s.After > longestOff) {
			t.Errorf("%+v", err)
		}
	})
}

// FuzzStyled: a style lies within what is shown, whatever the text.
func FuzzStyled(f *testing.F) {
	f.Add("**🌊** _x_ `y` \u2068**مرحبا**\u2069")
	f.Fuzz(func(t *testing.T, text string) {
		plain, styles := styled(text)
		for _, s := range styles {
			start, length, _ := strings.Cut(s, ":")
			length, _, _ = strings.Cut(length, ":")
			var from, n int
			if json.Unmarshal([]byte(start), &from) != nil || json.Unmarshal([]byte(length), &n) != nil || from < 0 || n <= 0 || from+n > len(utf16.Encode([]rune(plain))) {
				t.Errorf("%s lies outside of %q", s, plain)
			}
		}
	})
}
