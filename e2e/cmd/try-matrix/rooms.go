package main

import (
	"context"
	"fmt"
	"slices"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// rooms are the three that the visitor finds. Their makers invite the bot and answer its questions, as anybody would. They
// are not encrypted, so that the visitor's client, which comes later, can show what was said before.
var rooms = []struct {
	name, maker string
	answers     []string // to what the bot asks, one after the other: language, chapter, city
	commands    []string // said afterwards
}{
	{"Barcelona", "ana", []string{"español", "Barcelona", "Barcelona"}, nil},
	{"Lille", "luc", []string{"français", "Lille", "Lille"}, nil},
	{"London", "visitor", []string{"English", "London", "London"}, nil},
}

// play makes the rooms.
func play(ctx context.Context, url string, passwords map[string]string) error {
	clients := map[string]*client{}
	for _, user := range []string{"visitor", "ana", "luc"} {
		c, err := login(ctx, url, user, passwords[user])
		if err != nil {
			return fmt.Errorf("%s logs in: %w", user, err)
		}
		defer func() { _, _ = c.Logout(context.WithoutCancel(ctx)) }() // everything ends anyway
		clients[user] = c
	}
	for _, r := range rooms {
		if err := clients[r.maker].open(ctx, r.name, r.answers, r.commands); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if r.maker == "visitor" {
			continue
		}
		for _, room := range clients[r.maker].made {
			if _, err := clients["visitor"].JoinRoomByID(ctx, room); err != nil {
				return fmt.Errorf("the visitor joins %s: %w", r.name, err)
			}
		}
	}
	return nil
}

// client is somebody who makes a room.
type client struct {
	*mautrix.Client
	since string
	heard []*event.Event // what the bot has said and nobody has answered yet
	made  []id.RoomID
}

func login(ctx context.Context, url, user, password string) (*client, error) {
	c, err := mautrix.NewClient(url, "", "")
	if err != nil {
		return nil, err
	}
	_, err = c.Login(ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user},
		Password: password, InitialDeviceDisplayName: "try-matrix", StoreCredentials: true,
	})
	return &client{Client: c}, err
}

// open makes a room in which the visitor moderates, brings the bot in, and answers its questions.
func (c *client) open(ctx context.Context, name string, answers, commands []string) error {
	invite := []id.UserID{id.UserID(address("starling"))}
	powers := map[id.UserID]int{c.UserID: 100, id.UserID(address("visitor")): 100}
	if visitor := id.UserID(address("visitor")); c.UserID != visitor {
		invite = append(invite, visitor)
	}
	created, err := c.CreateRoom(ctx, &mautrix.ReqCreateRoom{
		Name: name, Preset: "private_chat", Invite: invite, PowerLevelOverride: &event.PowerLevelsEventContent{Users: powers},
	})
	if err != nil {
		return err
	}
	c.made = append(c.made, created.RoomID)
	for _, answer := range answers {
		question, err := c.hear(ctx, created.RoomID)
		if err != nil {
			return fmt.Errorf("waiting for a question to answer with %q: %w", answer, err)
		}
		content := &event.MessageEventContent{MsgType: event.MsgText, Body: answer}
		content.SetReply(question)
		if _, err := c.SendMessageEvent(ctx, created.RoomID, event.EventMessage, content); err != nil {
			return err
		}
	}
	for _, command := range commands {
		if _, err := c.hear(ctx, created.RoomID); err != nil {
			return fmt.Errorf("waiting before %q: %w", command, err)
		}
		if _, err := c.SendText(ctx, created.RoomID, command); err != nil {
			return err
		}
	}
	_, err = c.hear(ctx, created.RoomID)
	return err
}

// hear waits for the next message that the bot says in a room.
func (c *client) hear(ctx context.Context, room id.RoomID) (*event.Event, error) {
	for {
		if i := slices.IndexFunc(c.heard, func(e *event.Event) bool { return e.RoomID == room }); i >= 0 {
			e := c.heard[i]
			c.heard = slices.Delete(c.heard, i, i+1)
			return e, nil
		}
		news, err := c.SyncRequest(ctx, 10_000, c.since, "", false, event.PresenceOffline)
		if err != nil {
			return nil, err
		}
		c.since = news.NextBatch
		for joined, part := range news.Rooms.Join {
			for _, e := range part.Timeline.Events {
				if e.Sender != id.UserID(address("starling")) || e.Type != event.EventMessage {
					continue
				}
				if err := e.Content.ParseRaw(e.Type); err != nil {
					return nil, err
				}
				e.RoomID = joined
				c.heard = append(c.heard, e)
			}
		}
	}
}
