package main

import (
	"context"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// rooms are the three that the visitor finds. Their makers invite the bot and answer its questions, as anybody would. They
// are not encrypted, so that the visitor's client, which comes later, can show what was said before.
var rooms = []struct {
	name, maker string
	answers     []string // to what the bot asks, one after the other: language, chapter, city
}{
	{"Barcelona", "ana", []string{"español", "Barcelona", "Madrid"}},
	{"Lille", "luc", []string{"français", "Lille", "Paris"}},
	{"London", "visitor", []string{"English", "London", "Europe/London"}},
}

// follows are who hears whom: each is asked for by the one and granted by the other.
var follows = []struct{ room, ask, chapter, yes string }{
	{"Barcelona", "!enlace seguir London", "London", "yes"},
	{"Lille", "!relais suivre London", "London", "yes"},
	{"London", "!relay follow Barcelona", "Barcelona", "sí"},
}

// alone lets the visitor send an alert without a second person, who is not there.
const alone = "!room alerts anyone"

// play makes the rooms.
func play(ctx context.Context, url string, passwords map[string]string) error {
	makers := map[string]*client{} // by room
	for _, r := range rooms {
		c, err := login(ctx, url, r.maker, passwords[r.maker])
		if err != nil {
			return fmt.Errorf("%s logs in: %w", r.maker, err)
		}
		defer func() { _, _ = c.Logout(context.WithoutCancel(ctx)) }() // everything ends anyway
		makers[r.name] = c
		if err := c.open(ctx, r.name, r.answers); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	visitor := makers["London"]
	for _, c := range makers {
		if c == visitor {
			continue
		}
		if _, err := visitor.JoinRoomByID(ctx, c.room); err != nil {
			return fmt.Errorf("the visitor joins: %w", err)
		}
	}
	for _, f := range follows {
		if err := follow(ctx, makers[f.room], f.ask, makers[f.chapter], f.yes); err != nil {
			return fmt.Errorf("%s follows %s: %w", f.room, f.chapter, err)
		}
	}
	if err := visitor.say(ctx, alone, nil); err != nil {
		return err
	}
	_, err := visitor.hear(ctx)
	return err
}

// follow lets one room ask and another agree.
func follow(ctx context.Context, from *client, ask string, to *client, yes string) error {
	if err := from.say(ctx, ask, nil); err != nil {
		return err
	}
	if _, err := from.hear(ctx); err != nil { // that it was asked
		return err
	}
	question, err := to.hear(ctx)
	if err != nil {
		return err
	}
	if err := to.say(ctx, yes, question); err != nil {
		return err
	}
	for _, c := range []*client{from, to} { // that it is agreed
		if _, err := c.hear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// client is somebody who makes a room.
type client struct {
	*mautrix.Client
	since string
	room  id.RoomID
	heard []*event.Event // what the bot has said there and nobody has read yet
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
func (c *client) open(ctx context.Context, name string, answers []string) error {
	visitor := id.UserID(address("visitor"))
	invite := []id.UserID{id.UserID(address("starling"))}
	if c.UserID != visitor {
		invite = append(invite, visitor)
	}
	created, err := c.CreateRoom(ctx, &mautrix.ReqCreateRoom{
		Name: name, Preset: "private_chat", Invite: invite,
		PowerLevelOverride: &event.PowerLevelsEventContent{Users: map[id.UserID]int{c.UserID: 100, visitor: 100}},
	})
	if err != nil {
		return err
	}
	c.room = created.RoomID
	for _, answer := range answers {
		question, err := c.hear(ctx)
		if err != nil {
			return fmt.Errorf("waiting for a question to answer with %q: %w", answer, err)
		}
		if err := c.say(ctx, answer, question); err != nil {
			return err
		}
	}
	_, err = c.hear(ctx) // that it is ready
	return err
}

// say says something in the client's room, as a reply where there is something to reply to.
func (c *client) say(ctx context.Context, text string, to *event.Event) error {
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: text}
	if to != nil {
		content.SetReply(to)
	}
	_, err := c.SendMessageEvent(ctx, c.room, event.EventMessage, content)
	return err
}

// hear waits for the next message that the bot says in the client's room.
func (c *client) hear(ctx context.Context) (*event.Event, error) {
	for len(c.heard) == 0 {
		news, err := c.SyncRequest(ctx, 10_000, c.since, "", false, event.PresenceOffline)
		if err != nil {
			return nil, err
		}
		c.since = news.NextBatch
		part := news.Rooms.Join[c.room]
		if part == nil {
			continue
		}
		for _, e := range part.Timeline.Events {
			if e.Sender != id.UserID(address("starling")) || e.Type != event.EventMessage {
				continue
			}
			if err := e.Content.ParseRaw(e.Type); err != nil {
				return nil, err
			}
			e.RoomID = c.room
			c.heard = append(c.heard, e)
		}
	}
	e := c.heard[0]
	c.heard = c.heard[1:]
	return e, nil
}
