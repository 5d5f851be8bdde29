package bot

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// noticeTimeout is how long the word that nothing can be written down may take to leave.
const noticeTimeout = 30 * time.Second

// unstoredSign stands on a message that cannot be stored where that cannot be said in words.
const unstoredSign = "⚠️"

// isCommand is whether something is for the bot, as far as that can be said when not even a transaction could begin.
func (e *Engine) isCommand(in Incoming) bool {
	if in.Kind != KindText {
		return false
	}
	c := e.commands.read(in.Text, in.Mentioned || in.Direct)
	return in.Command != "" || c.node != nil
}

// Unstored implements Inbox.
func (b inbox) Unstored(in ...Incoming) {
	for i := range in {
		if b.e.isCommand(in[i]) {
			b.e.cannotStore(b.adapter, in[i])
		}
	}
}

// cannotStore tells a room, once until something can be stored again, that what was just asked waits because nothing can be written
// down: a full disk, a read-only one. It is the one thing that is said without the outbox, which is on that disk; where it does
// not get through, it is not tried again. A network whose own keys are on that disk cannot encrypt a word: then a sign on the message
// says it, which the clients of such networks leave in clear. What was asked comes again from the network, which was not told that it arrived.
func (e *Engine) cannotStore(adapter string, in Incoming) {
	hash := e.box.Hash("room", in.Room)
	id, ok := e.cache.roomAt(adapter, hash)
	room := e.cache.room(id)
	e.out.mu.Lock()
	a := e.adapters[adapter]
	closed := e.clock.Now().Before(e.out.account(adapter).closed)
	e.out.mu.Unlock()
	if !ok || room == nil || !room.Joined || a == nil || closed {
		return
	}
	e.mu.Lock()
	_, told := e.unstored[id]
	e.unstored[id] = adapter
	if !told {
		e.pending++ // until it is said
	}
	e.mu.Unlock()
	if told {
		return
	}
	said := func() {
		e.mu.Lock()
		e.pending--
		e.mu.Unlock()
		e.note()
	}
	now := e.clock.Now()
	reader := e.reader(room, "", now)
	text, err := e.cfg.Locales.Render(reader, NotStored{})
	if err != nil {
		e.log.Error().Err(err).Msg("a message cannot be made")
		said()
		return
	}
	out := Outgoing{ID: fmt.Sprintf("%s-unstored-%d-%d", e.instance, id, now.UnixMilli()), Room: room.Address, Kind: OutMessage, Text: text, Lang: reader.Lang,
		Encrypted: room.Encrypted}
	if in.Kind == KindText && !room.Direct {
		out.ReplyTo, out.ReplyPerson = in.ID, in.Person
		if a.Abilities().Threads {
			out.Thread = in.Thread
		}
	}
	ctx, cancel := context.WithTimeout(e.out.ctx, noticeTimeout)
	e.goes(func() {
		defer said()
		defer cancel()
		send := func() error { return guard(func() error { _, err := a.Send(ctx, out); return err }) }
		err := send()
		if err != nil && in.Kind == KindText && in.ID != "" && a.Abilities().Reactions {
			out = Outgoing{ID: out.ID + "-sign", Room: out.Room, Kind: OutReaction, Text: unstoredSign, Target: in.ID, ReplyPerson: in.Person, Encrypted: out.Encrypted}
			err = send()
		}
		if err != nil {
			e.log.Warn().Str("error", unquoted(err)).Int64("room", int64(id)).Msg("a room could not be told that nothing can be stored")
		}
	})
}

// stored notes what people asked and could be written down: where it came from, the next trouble is another one.
func (e *Engine) stored(all []charge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range all {
		maps.DeleteFunc(e.unstored, func(_ RoomID, adapter string) bool { return adapter == c.adapter })
	}
}
