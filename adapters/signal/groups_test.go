package signal

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
)

// An invitation that the bot did not answer before it was ended is answered by the next: nobody tells of it again.
func TestAnInvitationThatIsOpenAtTheStartIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name   string
		invite []string
		joins  bool
	}{
		{"anyone may", []string{"*"}, true},
		{"one of its people may", []string{ana}, true},
		{"nobody in it may", []string{me}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var called []string
			joined := false
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				switch method {
				case "listGroups":
					if joined {
						return json.RawMessage(`[{"id":"open","isMember":true,"members":[{"uuid":"` + ana + `"},{"uuid":"` + me + `"}]}]`), nil
					}
					return json.RawMessage(`[{"id":"open","isMember":false,"members":[{"uuid":"` + ana + `"}],"pendingMembers":[{"uuid":"` + me + `"}]}]`), nil
				case "updateGroup", "quitGroup":
					called = append(called, method)
					joined = method == "updateGroup"
				default:
					return inGroup(method, params)
				}
				return nil, nil
			}))
			a.cfg.Invite = c.invite
			e.took()
			for range 2 {
				if err := a.again(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			got := e.took()
			if c.joins != (len(got) == 1 && got[0].Room == "open" && got[0].RoomChange.Fresh) || len(called) != 1 || joined != c.joins {
				t.Errorf("called %v, told %+v", called, got)
			}
		})
	}
}

// What comes of the call by which the bot takes its place in a group is read as that of a message: a limit is kept.
func TestALimitIsReadWhereverItIsTold(t *testing.T) {
	for name, answer := range map[string]struct {
		result json.RawMessage
		err    error
	}{
		"in a result": {json.RawMessage(`{"results":[{"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":90}]}`), nil},
		"as an error": {nil, &rpcError{Code: -5}},
	} {
		t.Run(name, func(t *testing.T) {
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				switch method {
				case "listGroups":
					return json.RawMessage(`[{"id":"open","isMember":false,"members":[{"uuid":"` + ana + `"}],"pendingMembers":[{"uuid":"` + me + `"}]}]`), nil
				case "updateGroup":
					return answer.result, answer.err
				}
				return inGroup(method, params)
			}))
			a.cfg.Invite = []string{"*"}
			e.took()
			if err := a.again(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !a.refusedUntil().After(time.Now()) {
				t.Error("the account goes on sending")
			}
		})
	}
}

// Nothing tells of it that the bot left a group, or that it was removed while it was away: it is known all the same, and who invites it
// again has it back.
func TestAGroupThatTheBotLeftMayInviteItAgain(t *testing.T) {
	for _, c := range []struct {
		name       string
		left, away bool // by its own will; whether the bot is away when it is invited
	}{{"left", true, false}, {"removed, and nobody told", false, false}, {"removed and invited while it was away", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			in, pending := true, ""
			a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				switch method {
				case "quitGroup":
					in = false
				case "updateGroup":
					in, pending = true, ""
				case "listGroups":
					if in {
						return inGroup(method, params)
					}
					return json.RawMessage(`[{"id":"` + groupID + `","isMember":false,"members":[{"uuid":"` + ana + `"}],"pendingMembers":[` + pending + `]}]`), nil
				}
				return inGroup(method, params)
			}))
			e.took()
			if c.left {
				if _, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutLeave, Room: groupID}); err != nil {
					t.Fatal(err)
				}
			}
			in, pending = false, `{"uuid":"`+me+`"}`
			var err error
			if c.away {
				err = errors.Join(a.learn(t.Context()), a.again(t.Context()))
			} else {
				err = a.take(t.Context(), json.RawMessage(`{"envelope":{"sourceUuid":"`+ana+`","timestamp":5,"dataMessage":{"groupInfo":{"groupId":"`+groupID+`","revision":7,"type":"UPDATE"}}}}`))
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, in := range e.took() {
				switch {
				case !in.RoomChange.Joined:
					got = append(got, "out")
				case in.RoomChange.Fresh:
					got = append(got, "invited")
				default:
					got = append(got, "in")
				}
			}
			if want := []string{"out", "invited"}; !slices.Equal(got, want) || !in {
				t.Errorf("the engine is told %q, want %q; the bot is in the group: %v", got, want, in)
			}
		})
	}
}

// A group's name, its people, what they call themselves, its admins and its timer are the engine's as soon as they change; the bot itself is none
// of its people.
func TestAGroupIsFollowed(t *testing.T) {
	now := ""
	a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
		if method == "listGroups" && now != "" {
			return json.RawMessage(`[` + now + `]`), nil
		}
		return inGroup(method, params)
	}))
	now = `{"id":"` + groupID + `","name":"Lille","isMember":true,"messageExpirationTime":3600,"members":[{"uuid":"` + me + `"},{"uuid":"` + luc + `","number":"+14155550123"}],"admins":[{"uuid":"` + luc + `"},{"uuid":"` + me + `"}]}`
	e.took()
	if err := a.take(t.Context(), json.RawMessage(`{"envelope":{"sourceUuid":"`+ana+`","timestamp":5,"dataMessage":{"groupInfo":{"groupId":"`+groupID+`","revision":7,"type":"UPDATE"}}}}`)); err != nil {
		t.Fatal(err)
	}
	want := []bot.Incoming{{Room: groupID, Kind: bot.KindRoom, RoomChange: &bot.RoomChange{
		Joined: true, Name: "Lille", Encrypted: true, Timer: time.Hour, Members: map[string]bot.MemberInfo{luc: {Name: "luc", Moderator: true}},
	}}}
	if d := cmp.Diff(want, e.took()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWhoMayTakeTheBotIntoGroups(t *testing.T) {
	for _, c := range []struct {
		rules          []string
		person, number string
		allowed, named bool
	}{
		{nil, ana, anaCall, false, false},
		{[]string{luc}, ana, anaCall, false, false},
		{[]string{luc, ana}, ana, "", true, true},
		{[]string{anaCall}, ana, anaCall, true, true},
		{[]string{anaCall}, ana, "", false, false}, // she hides it
		{[]string{""}, ana, "", false, false},
		{[]string{"*"}, ana, "", true, false},
		{[]string{"*", ana}, ana, "", true, true}, // as often as she likes
	} {
		a := &Adapter{cfg: Config{Invite: c.rules}}
		if allowed, named := a.mayInvite(c.person, c.number); allowed != c.allowed || named != c.named {
			t.Errorf("%q: %s %q may: %v, by name: %v", c.rules, c.person, c.number, allowed, named)
		}
	}
}

// The bot has left, whoever of the group could not be told; that Signal limits the account is heard all the same.
func TestWhatComesOfLeavingIsRead(t *testing.T) {
	for name, answer := range map[string]struct {
		result string
		err    error
	}{
		"an answer": {result: `{"results":[{"recipientAddress":{"uuid":"` + luc + `"},"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":60}]}`},
		"an error": {err: &rpcError{Code: -1, Message: "Failed to send message",
			Data: json.RawMessage(`{"response":{"results":[{"recipientAddress":{"uuid":"` + luc + `"},"type":"RATE_LIMIT_FAILURE","retryAfterSeconds":60}]}}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
				if method == "quitGroup" {
					return json.RawMessage(answer.result), answer.err
				}
				return inGroup(method, params)
			}))
			if _, err := a.Send(t.Context(), bot.Outgoing{Kind: bot.OutLeave, Room: groupID}); err != nil {
				t.Fatal(err)
			}
			if a.knows(groupID) {
				t.Error("the bot has not left")
			}
			if !a.refusedUntil().After(time.Now()) {
				t.Error("it goes on sending")
			}
		})
	}
}
