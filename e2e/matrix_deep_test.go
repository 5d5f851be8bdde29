package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"starling/e2e/lab"
)

// Anybody can send an event into a room of hers that Dendrite takes and cannot put into an answer to /sync. It then answers everybody in
// that room with 500, for all rooms. The bot answers all the same, in the others and in that room.
func TestARoomThatBreaksTheSyncStopsNobody(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, ":"+lab.ServerName)
	ana := humans.Join(t, "ana", lab.Options{})
	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{bot.ID}})
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID})

	eve, err := server.Register(t.Context(), "eve", "eve-password")
	if err != nil {
		t.Fatal(err)
	}
	s := elsewhere(t, server, eve, "eve-password")
	var made struct {
		RoomID string `json:"room_id"`
	}
	read := func(data []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	read(s.do(http.MethodPost, "createRoom", map[string]any{"invite": []string{bot.ID}}, http.StatusOK), &made)
	greeted := `"sender":"` + bot.ID + `","type":"m.room.message"`
	for since, seen := "", ""; !strings.Contains(seen, greeted); {
		var next struct {
			NextBatch string `json:"next_batch"`
		}
		data := s.do(http.MethodGet, "sync?"+url.Values{"since": {since}, "timeout": {"10000"}}.Encode(), nil, http.StatusOK)
		read(data, &next)
		since, seen = next.NextBatch, string(data)
	}
	send := func(txn string, content any) {
		t.Helper()
		s.do(http.MethodPut, fmt.Sprintf("rooms/%s/send/m.room.message/%s", made.RoomID, txn), content, http.StatusOK)
	}
	const depth = 9_995
	send("deep", map[string]any{"msgtype": "m.text", "body": "deep", "x": json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))})
	send("asked", map[string]any{"msgtype": "m.text", "body": "/room"})
	s.do(http.MethodGet, "sync?timeout=0", nil, http.StatusInternalServerError) // as it is for everybody there

	ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: ana.Say(room, "/room")})
	bot.WaitIdle(t)
	past := string(s.do(http.MethodGet, "rooms/"+made.RoomID+"/messages?dir=b&limit=20", nil, http.StatusOK))
	if !strings.Contains(past, "I am in none with you") {
		t.Error("what was asked behind it is not answered")
	}
}
