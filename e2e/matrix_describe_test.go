package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

const describes = "org.matrix.msc4391.command_description"

// Where the room lets it, the bot describes its commands to people's clients, and understands what such a client then sends. Where the
// room does not, it goes on without.
func TestCommandsAreDescribedWhereTheRoomLetsIt(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, ":"+lab.ServerName)
	ana := humans.Join(t, "ana", lab.Options{})
	open := ana.CreateRoom(lab.Room{Name: "Lets it", Invite: []string{bot.ID}, Power: map[string]int{bot.ID: 50}})
	ana.WaitMember(open, bot.ID, "join")
	shut := ana.CreateRoom(lab.Room{Name: "Does not", Invite: []string{bot.ID}})
	ana.WaitMember(shut, bot.ID, "join")

	var described []lab.State
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for len(described) < 8 { // it takes its time
		var m lab.Message
		want := lab.Want{Room: open, From: bot.ID, Type: describes, After: ana.Mark()}
		if err := ana.Do(ctx, "wait", map[string]any{"want": want}, &m); err != nil {
			t.Fatal(err)
		}
		described = ana.States(open, describes)
	}
	var needs struct {
		Command    string
		Aliases    []string
		Parameters []struct{ Key string }
	}
	for _, d := range described {
		if err := json.Unmarshal(d.Content, &needs); err != nil {
			t.Fatal(err)
		}
		if needs.Command == "needs" {
			break
		}
	}
	if needs.Command != "needs" || !strings.Contains(strings.Join(needs.Aliases, " "), "necesidades") || len(needs.Parameters) != 1 {
		t.Fatalf("needs is described as %+v", needs)
	}
	structured := func(room, command, line string) lab.Message {
		content := lab.WithMention(lab.Text("what an old client shows"), bot.ID)
		content["org.matrix.msc4391.command"] = map[string]any{"command": command, "arguments": map[string]any{needs.Parameters[0].Key: line}}
		id := ana.Send(room, content)
		return ana.Wait(lab.Want{Room: room, From: bot.ID, AfterID: id})
	}
	for _, room := range []string{open, shut} {
		typed := ana.Wait(lab.Want{Room: room, From: bot.ID, AfterID: ana.Say(room, "/sala idioma xx")})
		if got := structured(room, "sala", "idioma xx"); got.Body != typed.Body {
			t.Errorf("a structured command is answered %q, typed %q", got.Body, typed.Body)
		}
	}
	if d := ana.States(shut, describes); len(d) != 0 {
		t.Errorf("where the room does not let it, stand %v", d)
	}
}
