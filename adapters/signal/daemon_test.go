package signal

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
)

// Java says on standard error that signal-cli's receiving has died, in any pieces; nothing else that stands there says so.
func TestDeafnessIsHeardOnStandardError(t *testing.T) {
	for said, want := range map[string]int{
		"INFO  DaemonCommand - Starting\nException in thread \"receive-0\" kotlin.NotImplementedError: x\n\tat a.b(C.kt:1)\n": 1,
		"Exception in thread \"receive-0\" x\nException in thread \"receive-1\" x\n":                                          2,
		"WARN  X - Exception in thread \"receive-0\"\nException in thread \"rpc\" x\nException":                               0,
	} {
		for _, size := range []int{1, 7, len(said)} {
			got := 0
			c := &complaints{deaf: func() { got++ }}
			for piece := range slices.Chunk([]byte(said), size) {
				if n, err := c.Write(piece); n != len(piece) || err != nil {
					t.Fatal(n, err)
				}
			}
			if got != want {
				t.Errorf("in pieces of %d %q says it %d times, want %d", size, said, got, want)
			}
		}
	}
}

// What signal-cli kept of a number that was not taken yet comes when it is started afresh. Where somebody else runs it, its author is asked
// to write again; where nothing was kept, nobody is.
func TestWhatWasKeptOfANewNumberComesOrIsAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		name       string
		own, first bool // whether signal-cli is the bot's, whether she writes before anything is sent to her
		want       []any
		worn       bool
	}{
		{"foreign, written to first", false, false, []any{NewNumber{"luc"}}, false},
		{"foreign, writing first", false, true, []any{NewNumber{"luc"}, WriteAgain{"luc"}}, false},
		{"own, written to first", true, false, []any{NewNumber{"luc"}}, false},
		{"own, writing first", true, true, []any{NewNumber{"luc"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				a, e := attached(t, answers(func(method string, params map[string]any) (json.RawMessage, error) {
					switch method {
					case "listIdentities": // the new key is fetched after it is told that it was not trusted
						if asked++; asked < 3 {
							return json.RawMessage(`[{"trustLevel":"TRUSTED_UNVERIFIED"}]`), nil
						}
						return json.RawMessage(`[{"trustLevel":"UNTRUSTED"}]`), nil
					case "trust":
						if c.first && asked < 3 {
							t.Error("the old key is trusted")
						}
					}
					return inGroup(method, params)
				}))
				worn := make(chan struct{})
				if c.own {
					a.daemon = newDaemon(a.cfg)
					a.daemon.cmd, a.daemon.worn, a.daemon.afresh = &exec.Cmd{}, worn, func() { close(worn) }
				}
				e.took()
				a.wrote[[2]string{groupID, luc}] = true
				var err error
				if c.first {
					err = a.take(context.Background(), json.RawMessage(`{"envelope":{"sourceUuid":"`+luc+`","timestamp":5},"exception":{"type":"UntrustedIdentityException"}}`))
				} else {
					err = a.read(context.Background(), bot.Outgoing{Room: groupID}, []sendResult{{Type: "SUCCESS"}, {Type: "IDENTITY_FAILURE", Recipient: who{UUID: luc}}})
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute) // of the bubble's time
				synctest.Wait()
				var told []any
				for _, in := range e.took() {
					switch msg := in.Notice.Message.(type) {
					case NewNumber:
						told = slices.Insert(told, 0, any(msg))
					case WriteAgain:
						told = append(told, msg)
					}
				}
				if d := cmp.Diff(c.want, told); d != "" {
					t.Errorf("people are told (-want +got)\n%s", d)
				}
				if isClosed(worn) != c.worn {
					t.Errorf("signal-cli is started afresh: %v", isClosed(worn))
				}
			})
		})
	}
}
