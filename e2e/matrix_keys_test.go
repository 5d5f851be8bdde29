package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

// unreadable is what somebody is told whose message the bot cannot read.
const unreadable = "could not read"

// A room key that is lost on its way is asked for. One that does not come at all is asked for in vain: its sender is told so
// once, also when the bot is restarted, and what she said is answered when it comes after all.
func TestARoomKeyThatIsLate(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, ":"+lab.ServerName)
	ana, sam := humans.Join(t, "ana", lab.Options{}), humans.Join(t, "sam", lab.Options{})
	room := ana.CreateRoom(lab.Room{Name: "London", Invite: []string{bot.ID, sam.ID}})
	sam.Join(room)
	ana.WaitMember(room, sam.ID, "join")
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID})

	sam.Withhold(room)
	asked := sam.Say(room, "!starling")
	if keys := sam.LoseKeys(); keys == 0 {
		t.Fatal("sam's client has withheld no key")
	}
	sam.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: asked})
	for _, m := range sam.Did(room, bot.ID, 0) {
		if strings.Contains(m.Body, unreadable) {
			t.Errorf("although the key was asked for and came, sam is told %q", m.Body)
		}
	}

	ana.Withhold(room)
	first, last := ana.Say(room, "!starling"), ana.Say(room, "!starling help")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+lab.Patience)
	defer cancel()
	var told lab.Message
	if err := ana.Do(ctx, "wait", map[string]any{"want": lab.Want{Room: room, From: bot.ID, Contains: []string{unreadable}}}, &told); err != nil {
		t.Fatal(err)
	}
	if told.ReplyTo != last || !told.Encrypted || told.MsgType != "m.notice" {
		t.Errorf("ana is told %+v, want an encrypted notice that answers what she said last", told)
	}
	if err := bot.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	if keys := ana.HandOver(); keys == 0 {
		t.Fatal("ana's client has withheld no key")
	}
	ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: first})
	ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: last, After: told.Seq})
	times := 0
	for _, m := range ana.Did(room, bot.ID, 0) {
		if strings.Contains(m.Body, unreadable) {
			times++
		}
	}
	if times != 1 {
		t.Errorf("ana is told %d times, want once", times)
	}
}

// Somebody who had never logged in when she was invited, and when the bot spoke, reads it from when she comes.
func TestWhoLogsInAfterSheWasInvitedHearsAndIsHeard(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, "@ana:"+lab.ServerName)
	ana := humans.Join(t, "ana", lab.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	zoe, err := server.Register(ctx, "zoe", "zoe-password")
	if err != nil {
		t.Fatal(err)
	}
	room := ana.CreateRoom(lab.Room{Name: "London", Invite: []string{zoe, bot.ID}})
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: ana.Say(room, "!starling")})
	p, err := humans.LogIn(ctx, "zoe", "zoe-password", lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	late := p.In(t)
	late.Join(room)
	ana.WaitMember(room, zoe, "join")
	asked := late.Say(room, "!starling")
	if m := late.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: asked}); !m.Encrypted {
		t.Errorf("she hears %s", m)
	}
}

// Somebody's one-time keys are used up when the bot shares a room key. She gets it when she has some again, and reads what was said before.
func TestWhoHasNoOneTimeKeysReadsWhenSheHasSome(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, "@ana:"+lab.ServerName)
	ana, luc := humans.Join(t, "ana", lab.Options{}), humans.Join(t, "luc", lab.Options{})
	luc.Uploads(false)
	claimant := elsewhere(t, server, ana.ID, "ana-password")
	for left := true; left; {
		answer := claimant.do(http.MethodPost, "keys/claim", map[string]any{
			"one_time_keys": map[string]any{luc.ID: map[string]string{luc.Device: "signed_curve25519"}},
		}, http.StatusOK)
		left = strings.Contains(string(answer), "signed_curve25519")
	}
	room := ana.CreateRoom(lab.Room{Name: "London", Invite: []string{luc.ID}})
	luc.Join(room)
	ana.WaitMember(room, luc.ID, "join")
	ana.Invite(room, bot.ID)
	greeting := ana.Wait(lab.Want{Room: room, From: bot.ID})
	bot.WaitIdle(t)
	there := false
	luc.Wait(lab.Want{Room: room, ID: greeting.ID, Redacted: &there}) // whether it can be read or not
	read := func() (can, cannot int) {
		for _, m := range luc.Did(room, bot.ID, 0) {
			if m.Undecryptable != "" {
				cannot++
			} else if m.ID == greeting.ID {
				can++
			}
		}
		return can, cannot
	}
	if can, _ := read(); can > 0 {
		t.Fatal("luc's client had a one-time key left, so this says nothing")
	}
	luc.Uploads(true)
	ana.SetState(room, "m.room.topic", "", map[string]string{"topic": "her client hears of something, and tries again"})
	luc.Wait(lab.Want{Room: room, ID: greeting.ID})
	if _, cannot := read(); cannot > 0 {
		t.Errorf("luc cannot read %d messages of the bot", cannot)
	}
}

// rounds is how often that is tried.
const rounds = 8

// Somebody who joins just when the bot does gets its room key, and it hers.
func TestWhoJoinsWhenTheBotDoesIsHeardAndHears(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, "@ana:"+lab.ServerName)
	ana := humans.Join(t, "ana", lab.Options{})
	for n := range rounds {
		new := humans.Join(t, fmt.Sprintf("new%d", n), lab.Options{})
		room := ana.CreateRoom(lab.Room{Name: fmt.Sprintf("Room %d", n), Invite: []string{new.ID}})
		new.WaitInvite(ana.ID)
		done := make(chan error, 1)
		joins := func() { done <- new.Do(context.Background(), "join", map[string]any{"room": room}, nil) }
		if n%2 == 0 {
			go joins()
			ana.Invite(room, bot.ID)
		} else { // in the middle of the greeting
			ana.Invite(room, bot.ID)
			go joins()
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		new.WaitMember(room, bot.ID, "join")
		asked := new.Say(room, "!starling")
		if m := new.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: asked}); !m.Encrypted || m.Undecryptable != "" {
			t.Errorf("she gets %+v", m)
		}
		for _, m := range new.Did(room, bot.ID, 0) {
			if m.Undecryptable != "" {
				t.Errorf("round %d: she cannot read what the bot said after she came: %s", n, m)
			}
		}
	}
}
