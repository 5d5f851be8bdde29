package e2e

import (
	"fmt"
	"testing"

	"starling/e2e/lab"
)

// A signal-cli that somebody else runs is attached to in each of the three ways, and again after it was away; what was written
// meanwhile is answered.
func TestTheBotAttachesToARunningSignalCLI(t *testing.T) {
	t.Parallel()
	signal := lab.StartSignal(t)
	bot := signal.Join(t, "starling")
	daemon := signal.LinkDaemon(t, bot)
	for _, way := range []string{"unix", "tcp", "http"} {
		t.Run(way, func(t *testing.T) {
			ana := signal.Join(t, "ana "+way)
			address, err := daemon.Listen(way)
			if err != nil {
				t.Fatal(err)
			}
			if err := daemon.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			starling, err := lab.SetUpStarling(t.TempDir(), lab.BotConfig{More: daemon.Config(fmt.Sprintf("address = %q\n", address), ana)})
			if err != nil {
				t.Fatal(err)
			}
			starling.Run(t)
			group := ana.CreateGroup(lab.SignalGroup{Title: "Lille"})
			ana.Invite(group, bot)
			ana.Wait(lab.Hears{Group: group, Contains: []string{"Starling", "1 English"}})
			hears := func() {
				t.Helper()
				ana.Wait(lab.Hears{Group: group, Quotes: ana.Say(group, "/needs list"), Contains: []string{"/needs"}})
			}
			hears()
			if err := daemon.Kill(); err != nil {
				t.Fatal(err)
			}
			asked := ana.Say(group, "/needs list") // it waits at Signal
			if err := daemon.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			ana.Wait(lab.Hears{Group: group, Quotes: asked, Contains: []string{"/needs"}})
			hears()
			if err := daemon.Kill(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
