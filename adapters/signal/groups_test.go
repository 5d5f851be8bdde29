package signal

import (
	"encoding/json"
	"testing"
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
