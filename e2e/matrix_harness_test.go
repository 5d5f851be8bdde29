package e2e

import (
	"testing"
	"time"

	"starling/e2e/lab"
)

// Two people with real clients do in an encrypted room on a real homeserver all that the later tests will ask of
// them: were the harness itself wrong, it would show here and not as a fault of the bot.
func TestPeopleTalkInAnEncryptedRoom(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	ana := humans.Join(t, "ana", lab.Options{})
	luc := humans.Join(t, "luc", lab.Options{OnlySigned: true})

	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{luc.ID}, Power: map[string]int{luc.ID: 50}})
	if invited := luc.WaitInvite(ana.ID); invited != room {
		t.Fatalf("luc is invited to %s, want %s", invited, room)
	}
	luc.Join(room)
	ana.WaitMember(room, luc.ID, "join")
	luc.WaitPower(room, luc.ID, 50)

	first := ana.Say(room, "hola")
	heard := luc.Wait(lab.Want{Room: room, From: ana.ID})
	if heard.ID != first || heard.Body != "hola" || heard.MsgType != "m.text" {
		t.Errorf("luc hears %+v, want the text hola of event %s", heard, first)
	}
	if !heard.Encrypted || heard.Shield != "none" {
		t.Errorf("encrypted %v, shield %q (%d); want encrypted and no shield", heard.Encrypted, heard.Shield, heard.ShieldReason)
	}
	if trust := luc.Trust(ana.ID); !trust.Identity || len(trust.Devices) != 1 || !trust.Devices[0].Signed {
		t.Errorf("luc trusts %+v, want an identity with one signed device", trust)
	}

	t.Run("thread and reply", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		inThread := luc.SayInThread(room, first, "dans le fil")
		m := ana.Wait(lab.Want{Room: room, Thread: first})
		if m.ID != inThread || !m.ReplyFallback {
			t.Errorf("in the thread stands %+v, want %s", m, inThread)
		}
		reply := ana.Send(room, lab.WithMention(lab.WithReply(lab.Text("sí"), inThread), luc.ID))
		m = luc.Wait(lab.Want{Room: room, ReplyTo: inThread, AfterID: inThread})
		if m.ID != reply || m.Thread != "" || m.Mentions == nil || len(m.Mentions.UserIDs) != 1 {
			t.Errorf("the reply is %+v, want %s with one mention and no thread", m, reply)
		}
	})

	t.Run("edit", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		ana.Edit(room, first, "hola a todas")
		m := luc.Wait(lab.Want{Room: room, ID: first, Edits: 1})
		if m.Body != "hola a todas" || m.Edits != 1 {
			t.Errorf("after the edit luc reads %q (%d edits), want %q", m.Body, m.Edits, "hola a todas")
		}
	})

	t.Run("reaction on and off", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		luc.React(room, first, "✅")
		m := ana.Wait(lab.Want{Room: room, ID: first, Reaction: "✅", By: luc.ID})
		if len(m.Reactions) != 1 {
			t.Errorf("reactions %v, want one", m.Reactions)
		}
		luc.Unreact(room, first, "✅")
		m = ana.Wait(lab.Want{Room: room, ID: first, Without: "✅"})
		if len(m.Reactions) != 0 {
			t.Errorf("reactions %v, want none", m.Reactions)
		}
	})

	t.Run("clear text, voice, deletion", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		mark := luc.Mark()
		inClear := ana.SendClear(room, lab.Text("sin cifrar"))
		if m := luc.Wait(lab.Want{Room: room, ID: inClear}); m.Encrypted || m.Body != "sin cifrar" {
			t.Errorf("the clear message is %+v", m)
		}
		voice := ana.Send(room, lab.Voice())
		if m := luc.Wait(lab.Want{Room: room, After: mark, MsgType: "m.audio"}); m.ID != voice || !m.Encrypted {
			t.Errorf("the voice message is %+v, want %s, encrypted", m, voice)
		}
		ana.Delete(room, voice)
		luc.WaitDeleted(room, voice)
		var kinds []string
		for _, m := range luc.Did(room, ana.ID, mark) {
			kinds = append(kinds, m.Type)
		}
		if len(kinds) != 3 || kinds[2] != "m.room.redaction" {
			t.Errorf("ana did %v, want two messages and a redaction", kinds)
		}
	})

	t.Run("roles, leaving, direct chat", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		ana.SetPower(room, luc.ID, 0)
		luc.WaitPower(room, luc.ID, 0)
		direct := luc.CreateRoom(lab.Room{Direct: ana.ID})
		if invited := ana.WaitInvite(luc.ID); invited != direct {
			t.Fatalf("ana is invited to %s, want %s", invited, direct)
		}
		ana.Join(direct)
		luc.WaitMember(direct, ana.ID, "join")
		ana.Say(direct, "solo para ti")
		luc.Wait(lab.Want{Room: direct, From: ana.ID, Contains: []string{"solo"}})
		luc.Leave(room)
		ana.WaitMember(room, luc.ID, "leave")
	})

	t.Run("the homeserver dies and comes back", func(t *testing.T) {
		ana := ana.In(t)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := ana.Say(room, "seguimos") // the lost sync may not have been noticed yet
		ana.Wait(lab.Want{Room: room, ID: after})
	})
}

// soon is a weekday that is today nowhere: said on that very day it would be asked which one is meant.
func soon() time.Weekday { return time.Now().AddDate(0, 0, 3).Weekday() }
