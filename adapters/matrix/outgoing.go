package matrix

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/attachment"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
	"starling/locales/markup"
)

const (
	sendFor   = time.Minute
	uploadFor = 5 * time.Minute
	// A refusal counts for nothing so long after the bot has come into a room: homeservers may take a while to see it there.
	settleFor   = time.Minute
	settleAgain = 2 * time.Second
)

// Send implements bot.Adapter. Calls before the first sync of Run wait for it: only then it is known who must be able to read.
func (a *Adapter) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	limit := sendFor
	if out.Kind == bot.OutFile {
		limit = uploadFor
	}
	ctx, cancel := context.WithTimeout(quiet(ctx), limit)
	defer cancel()
	select {
	case <-a.ready:
	case <-ctx.Done():
		return "", clean(ctx.Err())
	}
	eid, err := a.once(ctx, out)
	if err == nil {
		a.noted.note(func(r *bot.Report) { r.Sent = a.cfg.Now() })
		return eid.String(), nil
	}
	a.store.look(err)
	if loggedOut(err) {
		select {
		case a.fatal <- ErrLoggedOut:
		default:
		}
		return "", clean(err)
	}
	var se *bot.SendError
	if errors.As(err, &se) {
		return "", err
	}
	err = sendError(err)
	if errors.As(err, &se) && se.Gone && out.Kind != bot.OutLeave {
		if a.cameSince(id.RoomID(out.Room), a.cfg.Now().Add(-settleFor)) {
			return "", &bot.SendError{Err: se.Err, After: settleAgain}
		}
		return "", a.whetherGone(ctx, id.RoomID(out.Room), se)
	}
	return "", err
}

// once sends what no earlier try has brought to the room.
func (a *Adapter) once(ctx context.Context, out bot.Outgoing) (id.EventID, error) {
	if out.Again && out.Kind != bot.OutLeave {
		if err := a.passFence(ctx, id.RoomID(out.Room)); err != nil {
			return "", err
		}
	}
	if eid, ok := a.echo(out.ID); ok {
		return eid, nil
	}
	eid, err := a.send(ctx, out)
	if perhapsDone(err) {
		a.closeFence(id.RoomID(out.Room))
	}
	return eid, err
}

func (a *Adapter) send(ctx context.Context, out bot.Outgoing) (id.EventID, error) {
	rid := id.RoomID(out.Room)
	switch out.Kind {
	case bot.OutMessage, bot.OutEdit:
		return a.put(ctx, rid, event.EventMessage, out, textContent(out))
	case bot.OutFile:
		if out.File == nil {
			return "", &bot.SendError{Err: errors.New("a file without a file"), Permanent: true}
		}
		content, err := a.fileContent(ctx, out)
		if err != nil {
			return "", err
		}
		return a.put(ctx, rid, event.EventMessage, out, content)
	case bot.OutReaction:
		eid, err := a.sendEvent(ctx, rid, event.EventReaction, a.mark(out, reactionContent(out)), transaction(out.ID))
		if hasCode(err, "M_DUPLICATE_ANNOTATION") {
			return "", nil
		}
		return eid, err
	case bot.OutDelete:
		var eid id.EventID
		err := a.speak(ctx, func(cli *mautrix.Client) (err error) {
			eid, err = sent(cli.RedactEvent(ctx, rid, id.EventID(out.Target), mautrix.ReqRedact{TxnID: transaction(out.ID), Extra: a.mark(out, map[string]any{})}))
			return err
		})
		return eid, err
	case bot.OutLeave:
		return "", a.leave(ctx, rid)
	}
	return "", &bot.SendError{Err: fmt.Errorf("the Matrix adapter cannot send %q", out.Kind), Permanent: true}
}

// sendEvent puts an event into a room as it stands.
func (a *Adapter) sendEvent(ctx context.Context, rid id.RoomID, evtType event.Type, content any, txn string) (eid id.EventID, err error) {
	err = a.speak(ctx, func(cli *mautrix.Client) (err error) {
		eid, err = sent(cli.SendMessageEvent(ctx, rid, evtType, content, mautrix.ReqSendEvent{TransactionID: txn, DontEncrypt: true}))
		return err
	})
	return eid, err
}

func sent(resp *mautrix.RespSendEvent, err error) (id.EventID, error) {
	if err != nil {
		return "", err
	}
	if resp.EventID == "" {
		return "", errNotMatrix
	}
	return resp.EventID, nil
}

// put sends content, encrypted where the room is.
func (a *Adapter) put(ctx context.Context, rid id.RoomID, evtType event.Type, out bot.Outgoing, content map[string]any) (id.EventID, error) {
	secret, err := a.mustEncrypt(ctx, rid, out.Encrypted)
	if err != nil {
		return "", err
	}
	if !secret {
		return a.sendEvent(ctx, rid, evtType, a.mark(out, content), transaction(out.ID))
	}
	secretly, err := a.encrypt(ctx, rid, evtType, content)
	if err != nil {
		return "", err
	}
	// The mark stands outside: own events are not decrypted.
	return a.sendEvent(ctx, rid, event.EventEncrypted, &event.Content{Parsed: secretly, Raw: a.mark(out, map[string]any{})}, transaction(out.ID))
}

// mustEncrypt tells whether nothing may go into a room in clear. Of a room that no sync has shown yet, the homeserver is asked.
func (a *Adapter) mustEncrypt(ctx context.Context, rid id.RoomID, told bool) (bool, error) {
	if told {
		return true, nil
	}
	r, err := a.store.room(ctx, rid)
	if err != nil || r.Encrypted {
		return r != nil && r.Encrypted, err
	}
	if yes, err := a.store.state.GetEncryptionEvent(ctx, rid); err != nil || yes != nil {
		return yes != nil, err
	}
	if r.Membership == joined {
		return false, nil
	}
	var content map[string]any
	err = a.cli.StateEvent(ctx, rid, event.StateEncryption, "", &content)
	if hasCode(err, "M_NOT_FOUND") {
		return false, nil
	}
	return err == nil, err
}

// comes notes that the bot has just come into a room.
func (a *Adapter) comes(rid id.RoomID) {
	now := a.cfg.Now()
	a.cameMu.Lock()
	defer a.cameMu.Unlock()
	maps.DeleteFunc(a.came, func(_ id.RoomID, at time.Time) bool { return now.Sub(at) > settleFor })
	a.came[rid] = now
}

func (a *Adapter) cameSince(rid id.RoomID, since time.Time) bool {
	a.cameMu.Lock()
	defer a.cameMu.Unlock()
	at, ok := a.came[rid]
	return ok && at.After(since)
}

// whetherGone finds out what a refusal means: the bot is no longer in the room, or may not speak there.
func (a *Adapter) whetherGone(ctx context.Context, rid id.RoomID, se *bot.SendError) error {
	var me event.MemberEventContent
	err := a.cli.StateEvent(ctx, rid, event.StateMember, a.me.String(), &me)
	switch {
	case err == nil && me.Membership == event.MembershipJoin:
		se.Gone = false
	case err == nil && me.Membership == "":
		return &bot.SendError{Err: errNotMatrix}
	case err != nil && !hasCode(err, "M_FORBIDDEN", "M_NOT_FOUND"):
		return &bot.SendError{Err: clean(err)} // not known: try again
	}
	return se
}

// transaction is the homeserver's idempotency key for an Outgoing: the same for every try. It comes back beside the event,
// to this device only, and says which Outgoing has arrived: Dendrite forgets the key of a call whose caller died in it.
func transaction(outID string) string { return transactionPrefix + outID }

const transactionPrefix = "starling-"

// body gives a text in both forms that a message has.
func body(text string) map[string]any {
	doc := markup.Parse(text)
	plain, html := markup.Plain(doc), markup.HTML(doc)
	c := map[string]any{"body": plain}
	if html != "" && html != plain {
		c["format"], c["formatted_body"] = string(event.FormatHTML), html
	}
	return c
}

// textContent is a message or an edit. It always says whom it mentions, so that no text that somebody typed ever pings.
func textContent(out bot.Outgoing) map[string]any {
	c := body(out.Text)
	// Notices do not ring, and bots do not answer them.
	c["msgtype"] = string(event.MsgNotice)
	if out.Rings {
		c["msgtype"] = string(event.MsgText)
	}
	c["m.mentions"] = map[string]any{}
	if out.Kind != bot.OutEdit {
		c[relayMark] = map[string]any{"v": 1}
		relate(c, out)
		return c
	}
	edit := map[string]any{
		relayMark:       map[string]any{"v": 1},
		"msgtype":       c["msgtype"],
		"body":          "* " + c["body"].(string),
		"m.mentions":    map[string]any{},
		"m.new_content": c,
		"m.relates_to":  map[string]any{"rel_type": string(event.RelReplace), "event_id": out.Target},
	}
	if html, ok := c["formatted_body"].(string); ok {
		edit["format"], edit["formatted_body"] = c["format"], "* "+html
	}
	return edit
}

// relate puts a message into its thread and under what it answers; only a reply mentions anybody: who is replied to.
func relate(c map[string]any, out bot.Outgoing) {
	rel := map[string]any{}
	if out.Thread != "" {
		// Clients without threads show the message as a reply to the root.
		rel["rel_type"], rel["event_id"], rel["is_falling_back"] = string(event.RelThread), out.Thread, true
		rel["m.in_reply_to"] = map[string]any{"event_id": out.Thread}
	}
	if out.ReplyTo != "" {
		rel["m.in_reply_to"] = map[string]any{"event_id": out.ReplyTo}
		if out.Thread != "" {
			rel["is_falling_back"] = false
		}
		if out.ReplyPerson != "" {
			c["m.mentions"] = map[string]any{"user_ids": []string{out.ReplyPerson}}
		}
	}
	if len(rel) > 0 {
		c["m.relates_to"] = rel
	}
}

func reactionContent(out bot.Outgoing) map[string]any {
	return map[string]any{
		relayMark:      map[string]any{"v": 1},
		"m.relates_to": map[string]any{"rel_type": string(event.RelAnnotation), "event_id": out.Target, "key": out.Text},
	}
}

// fileContent uploads a file, encrypted where the room is, and describes it.
func (a *Adapter) fileContent(ctx context.Context, out bot.Outgoing) (map[string]any, error) {
	secret, err := a.mustEncrypt(ctx, id.RoomID(out.Room), out.Encrypted)
	if err != nil {
		return nil, err
	}
	f := out.File
	data, mediaType, name := f.Data, f.Type, f.Name
	var key *attachment.EncryptedFile
	if secret {
		key = attachment.NewEncryptedFile()
		data = slices.Clone(data)
		key.EncryptInPlace(data)
		mediaType, name = "application/octet-stream", ""
	}
	up, err := a.cli.UploadMedia(ctx, mautrix.ReqUploadMedia{ContentBytes: data, ContentType: mediaType, FileName: name})
	if err == nil && up.ContentURI.IsEmpty() {
		err = errNotMatrix
	}
	if err != nil {
		return nil, err
	}
	c := map[string]any{
		relayMark:    map[string]any{"v": 1},
		"msgtype":    string(fileKind(f.Type)),
		"body":       f.Name,
		"filename":   f.Name,
		"info":       map[string]any{"mimetype": f.Type, "size": len(f.Data)},
		"m.mentions": map[string]any{},
	}
	if f.Description != "" {
		c["body"] = f.Description
	}
	if key != nil {
		c["file"] = event.EncryptedFileInfo{EncryptedFile: *key, URL: up.ContentURI.CUString()}
	} else {
		c["url"] = up.ContentURI.CUString()
	}
	relate(c, out)
	return c, nil
}

func fileKind(mediaType string) event.MessageType {
	kind, _, _ := strings.Cut(mediaType, "/")
	switch kind {
	case "image":
		return event.MsgImage
	case "audio":
		return event.MsgAudio
	case "video":
		return event.MsgVideo
	}
	return event.MsgFile
}

// OpenDirect implements bot.DirectOpener: it finds the direct chat with a person, or makes one, encrypted.
func (a *Adapter) OpenDirect(ctx context.Context, person string) (string, error) {
	ctx, cancel := context.WithTimeout(quiet(ctx), sendFor)
	defer cancel()
	select {
	case <-a.ready:
	case <-ctx.Done():
		return "", clean(ctx.Err())
	}
	if _, _, err := id.UserID(person).ParseAndValidateRelaxed(); err != nil {
		return "", &bot.SendError{Err: errors.New("that is no Matrix address"), Permanent: true}
	}
	rid, err := a.openDirect(ctx, id.UserID(person))
	if err != nil {
		return "", sendError(err)
	}
	return rid.String(), nil
}

func (a *Adapter) openDirect(ctx context.Context, person id.UserID) (id.RoomID, error) {
	rooms, err := a.store.directRooms(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range rooms {
		people, err := a.store.state.GetRoomMembers(ctx, r.ID, event.MembershipJoin, event.MembershipInvite)
		if err != nil {
			return "", err
		}
		if _, ok := people[person]; ok && len(people) == 2 {
			return r.ID, nil
		}
	}
	request := &mautrix.ReqCreateRoom{
		Preset:   "trusted_private_chat",
		IsDirect: true,
		Invite:   []id.UserID{person},
		InitialState: []*event.Event{{
			Type:    event.StateEncryption,
			Content: event.Content{Parsed: &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}},
		}},
	}
	var resp *mautrix.RespCreateRoom
	err = a.speak(ctx, func(cli *mautrix.Client) (err error) {
		resp, err = cli.CreateRoom(ctx, request)
		return err
	})
	if err == nil && resp.RoomID == "" {
		err = errNotMatrix
	}
	if err != nil {
		return "", err
	}
	// What is sent before the room comes down in a sync must already reach the person's devices.
	err = a.store.txn(ctx, func(ctx context.Context) error {
		r := &room{ID: resp.RoomID, Membership: opened, Encrypted: true, Marked: true, Direct: true}
		return errors.Join(
			a.store.putRoom(ctx, r),
			a.store.state.putMember(ctx, r.ID, a.me, &event.MemberEventContent{Membership: event.MembershipJoin}),
			a.store.state.putMember(ctx, r.ID, person, &event.MemberEventContent{Membership: event.MembershipInvite}),
		)
	})
	return resp.RoomID, err
}
