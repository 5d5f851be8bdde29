package e2e

import (
	"testing"

	"starling/e2e/lab"
)

func TestBotComesWhenInvitedAndIsTrusted(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	ana := humans.Join(t, "ana", lab.Options{OnlySigned: true})
	bot := lab.StartStarling(t, server, ana.ID)

	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{bot.ID}})
	ana.WaitMember(room, bot.ID, "join")
	trust := ana.Trust(bot.ID)
	if !trust.Identity || len(trust.Devices) != 1 || !trust.Devices[0].Signed {
		t.Errorf("ana's client trusts %+v, want an identity with one signed device", trust)
	}
}
