package signal

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
)

//go:embed testdata/received.jsonl
var recorded string

func lines() []string { return strings.Split(strings.TrimSpace(recorded), "\n") }

// What the real signal-cli told, and what becomes of it: everything that is meant for the bot, and nothing else.
func TestWhatSignalCLITellsIsRead(t *testing.T) {
	a, e := attached(t, answers(inGroup))
	e.took()
	var got []string
	for _, line := range lines() {
		if err := a.take(t.Context(), json.RawMessage(line)); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		for _, in := range e.took() {
			if numbered(in) {
				t.Errorf("a number comes through: %+v", in)
			}
			if in.Kind == bot.KindRoom {
				continue
			}
			where := "group"
			if in.Direct {
				where = "direct"
			}
			if in.Room != groupID && in.Room != in.Person && in.Kind != bot.KindNotice {
				t.Errorf("it is in no room of theirs: %+v", in)
			}
			said := fmt.Sprintf("%s %s %s %q", where, in.Kind, in.Name, in.Text)
			if in.ReplyTo != "" && in.Kind != bot.KindNotice {
				said += " to " + in.ReplyTo
			}
			if in.Target != "" {
				said += " on " + in.Target
			}
			for _, m := range in.Mentions {
				said += " mentions " + m
			}
			for _, f := range in.Files {
				said += " with " + f.Type
			}
			if in.Notice != nil {
				said += fmt.Sprintf(" %T", in.Notice.Message)
			}
			got = append(got, said)
		}
	}
	want := []string{
		`group text ana "/needs"`,
		`group text ana "water"`,
		`group text ana "" with audio/aac`,
		`group text ana "yes" to 1795716354872.` + me,
		`group reaction ana "👍" on 1795716354872.` + me,
		`group edit ana "edited" on 1700000000000.` + ana,
		`group text ana "this will vanish"`,
		`group text ana "whole"`,
		`group notice  "" signal.UnreadableHere`,
		`group text ana "look @luc" mentions ` + luc,
		`group text ana "" with image/webp`,
		`group text ana "in a sealed envelope"`,
		`group text ana "held back"`,
		`group deletion ana "" on 1700000000000.` + ana,
		`group text ana "" with image/png`,
		`direct text luc "only for you"`,
		`group text ana "twice"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// signal-cli calls somebody whom it mentions by her number, where it knows it; she is shown by what she calls herself.
func TestAMentionShowsNoNumber(t *testing.T) {
	a, e := attached(t, answers(inGroup))
	for _, c := range []struct{ text, mentions, want string }{
		{"look \uFFFC", `{"name":"+14155550123","number":"+14155550123","uuid":"` + luc + `","start":5,"length":1}`, "look @luc"},
		{"🌊 مرحبا \uFFFC", `{"name":"+14155550123","uuid":"` + luc + `","start":9,"length":1}`, "🌊 مرحبا @luc"},
		{"\uFFFC /needs", `{"name":"` + own + `","uuid":"` + me + `","start":0,"length":1}`, "/needs"},
		{"\uFFFC", `{"uuid":"` + me + `","start":0,"length":1}`, ""},
		{"ask \uFFFC", `{"name":"+14155550123","uuid":"11111111-2222-4333-8444-555555555555","start":4,"length":1}`, "ask @…"},
		{" : \uFFFC", `{"uuid":"` + luc + `","start":3,"length":1}`, " : @luc"},
		{"\uFFFC of nobody", ``, " of nobody"},
		{"beyond", `{"uuid":"` + luc + `","start":-7,"length":1},{"uuid":"` + luc + `","start":2147483647,"length":9}`, "beyond"},
	} {
		e.took()
		line := `{"account":"` + own + `","envelope":{"sourceUuid":"` + ana + `","sourceName":"ana","timestamp":5,"dataMessage":{"message":` + fmt.Sprintf("%q", c.text) + `,"mentions":[` + c.mentions + `],"groupInfo":{"groupId":"` + groupID + `","type":"DELIVER"}}}}`
		if err := a.take(t.Context(), json.RawMessage(line)); err != nil {
			t.Fatal(err)
		}
		got := e.took()
		if len(got) != 1 || got[0].Text != c.want || numbered(got) {
			t.Errorf("%q became %+v, want %q", c.text, got, c.want)
		}
	}
}

// What is not whole is not taken for the whole: a long text is fetched, and where that fails its author is told.
func TestALongTextIsFetched(t *testing.T) {
	fails := false
	a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method == "getAttachment" && fails {
			return nil, &rpcError{Code: -3}
		}
		return inGroup(method, params)
	}))
	line := json.RawMessage(`{"envelope":{"sourceUuid":"` + ana + `","timestamp":5,"dataMessage":{"message":"who","attachments":[{"contentType":"text/x-signal-plain","id":"x","size":5}],"groupInfo":{"groupId":"` + groupID + `","type":"DELIVER"}}}}`)
	for _, fails = range []bool{false, true} {
		e.took()
		if err := a.take(t.Context(), line); err != nil {
			t.Fatal(err)
		}
		got := e.took()
		if len(got) != 1 || fails != (got[0].Notice != nil) || !fails && got[0].Text != "whole" {
			t.Errorf("failing %v: %+v", fails, got)
		}
	}
}

// FuzzTake: whatever signal-cli tells, for anybody may have sent it, nothing breaks, nobody speaks for the bot, and what the engine
// is given is bounded and names people by no number.
func FuzzTake(f *testing.F) {
	for _, line := range lines() {
		f.Add(line)
		f.Add(`{"subscription":0,"result":` + line + `}`)
	}
	f.Add(`{"envelope":{"sourceUuid":"` + ana + `","timestamp":1,"dataMessage":{},"editMessage":{"dataMessage":{"groupInfo":{"groupId":"new","type":"DELIVER"}}}}}`)
	f.Add(`{"envelope":{"sourceUuid":"` + ana + `","timestamp":9223372036854775807,"serverReceivedTimestamp":-1,"dataMessage":{"message":"\ufffc","mentions":[{"uuid":"` + luc + `","start":-1}]}}}`)
	a, e := attached(f, answers(inGroup))
	f.Fuzz(func(t *testing.T, line string) {
		if !json.Valid([]byte(line)) {
			return
		}
		e.took()
		_ = a.take(t.Context(), json.RawMessage(line)) // it may need an answer that there is none to
		for _, in := range e.took() {
			if in.Person == me {
				t.Errorf("the bot speaks to itself: %+v", in)
			}
			if len(in.Name) > maxName || len(in.Files) > maxFiles+1 || len(in.Mentions) > maxMentions || !utf8.ValidString(in.Text) {
				t.Errorf("out of bounds: %+v", in)
			}
			if in.Kind != bot.KindRoom && in.Kind != bot.KindNotice && (in.ID == "" || !IsPerson(in.Person)) {
				t.Errorf("nobody's: %+v", in)
			}
		}
	})
}

// A direct chat's timer is what its texts bear and what is set; reactions and deletions bear none and change nothing.
func TestOnlyTextsAndSettingItChangeADirectChatsTimer(t *testing.T) {
	a, e := attached(t, answers(inGroup))
	for i, c := range []struct {
		data string
		want []time.Duration // what the engine is told
	}{
		{`"expiresInSeconds":3600`, nil}, // nobody's chat yet
		{`"message":"/needs water","expiresInSeconds":3600`, []time.Duration{time.Hour}},
		{`"reaction":{"emoji":"✅","targetAuthorUuid":"` + me + `","targetSentTimestamp":7},"expiresInSeconds":0`, nil},
		{`"remoteDelete":{"timestamp":7},"expiresInSeconds":0`, nil},
		{`"message":"20","expiresInSeconds":3600`, nil},
		{`"expiresInSeconds":60`, []time.Duration{time.Minute}},
		{`"message":"20","expiresInSeconds":0`, []time.Duration{0}},
	} {
		e.took()
		line := fmt.Sprintf(`{"envelope":{"sourceUuid":%q,"timestamp":%d,"dataMessage":{%s}}}`, luc, i+10, c.data)
		if err := a.take(t.Context(), json.RawMessage(line)); err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, in := range e.took() {
			if in.Kind == bot.KindRoom {
				got = append(got, in.RoomChange.Timer)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: the engine is told %v, want %v", c.data, got, c.want)
		}
	}
}

// After a start the engine still knows the timer, and the adapter does not: a reaction does not end it, a text says it.
func TestAReactionAfterAStartLeavesTheTimer(t *testing.T) {
	a, e := attached(t, answers(inGroup))
	a.rooms[luc] = true
	e.took()
	for line, want := range map[string]int{
		`{"envelope":{"sourceUuid":"` + luc + `","timestamp":5,"dataMessage":{"reaction":{"emoji":"✅","targetAuthorUuid":"` + me + `","targetSentTimestamp":7}}}}`: 1,
		`{"envelope":{"sourceUuid":"` + luc + `","timestamp":6,"dataMessage":{"message":"20"}}}`:                                                                   2,
	} {
		delete(a.timers, luc)
		if err := a.take(t.Context(), json.RawMessage(line)); err != nil {
			t.Fatal(err)
		}
		if got := e.took(); len(got) != want {
			t.Errorf("%s: the engine is told %+v", line, got)
		}
	}
}

// signal-cli tells a message once: that it dies before it can be asked what has changed in the group loses no word.
func TestWhatSignalCLITellsLastIsNotLost(t *testing.T) {
	for _, dying := range []string{"listGroups", "listContacts"} {
		t.Run(dying, func(t *testing.T) {
			var died error
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				if method == dying && died != nil {
					return nil, died
				}
				return inGroup(method, params)
			}))
			for _, died = range []error{errUnasked, errDown} {
				e.took()
				delete(a.names, ana) // an admin
				line := `{"envelope":{"sourceUuid":"` + luc + `","timestamp":5,"dataMessage":{"message":"/needs water","groupInfo":{"groupId":"` + groupID + `","revision":7,"type":"DELIVER"}}}}`
				if err := a.take(t.Context(), json.RawMessage(line)); err != nil {
					t.Fatal(err)
				}
				a.groups[groupID].revision = 0
				if got := e.took(); len(got) == 0 || got[len(got)-1].Text != "/needs water" {
					t.Errorf("%v: the engine is told %+v", died, got)
				}
			}
		})
	}
}
