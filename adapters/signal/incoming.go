package signal

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"starling/bot"
)

// What signal-cli tells of one message ("receive"), as far as it is looked at here. The unlisted kinds (typing, receipts, calls,
// stories, what the account's own phone sends) are nobody's business.
type (
	received struct {
		Envelope  envelope  `json:"envelope"`
		Exception *failure  `json:"exception"`
		Account   string    `json:"account"`
		Result    *received `json:"result"` // in --receive-mode manual it is wrapped
	}
	failure struct {
		Type string `json:"type"`
	}
	envelope struct {
		SourceUUID   string       `json:"sourceUuid"`
		SourceNumber string       `json:"sourceNumber"`
		SourceName   string       `json:"sourceName"`
		Timestamp    int64        `json:"timestamp"`               // the author's clock, Unix milliseconds
		Server       int64        `json:"serverReceivedTimestamp"` // the server's
		Data         *dataMessage `json:"dataMessage"`
		Edit         *struct {
			Target int64        `json:"targetSentTimestamp"`
			Data   *dataMessage `json:"dataMessage"`
		} `json:"editMessage"`
	}
	dataMessage struct {
		Message  string `json:"message"`
		Expires  int64  `json:"expiresInSeconds"`
		ViewOnce bool   `json:"viewOnce"`
		Group    *struct {
			ID       string `json:"groupId"`
			Revision int64  `json:"revision"`
			Type     string `json:"type"`
		} `json:"groupInfo"`
		Quote *struct {
			ID         int64  `json:"id"`
			AuthorUUID string `json:"authorUuid"`
		} `json:"quote"`
		Reaction *struct {
			Emoji  string `json:"emoji"`
			Author string `json:"targetAuthorUuid"`
			Target int64  `json:"targetSentTimestamp"`
			Remove bool   `json:"isRemove"`
		} `json:"reaction"`
		Delete *struct {
			Target int64 `json:"timestamp"`
		} `json:"remoteDelete"`
		// What signal-cli calls the name of somebody mentioned is her number, where it knows it: it is not read.
		Mentions []struct {
			UUID  string `json:"uuid"`
			Start int    `json:"start"` // in UTF-16 code units
		} `json:"mentions"`
		Attachments []attachment    `json:"attachments"`
		Sticker     json.RawMessage `json:"sticker"`
	}
	attachment struct {
		ID   string `json:"id"`
		Type string `json:"contentType"`
		Name string `json:"filename"`
		Size int64  `json:"size"`
	}
)

// Bounds of what is made of a message.
const (
	maxName        = 255
	maxEmoji       = 64
	maxMentions    = 50
	maxFiles       = 32
	maxLongText    = 64 << 10
	longText       = "text/x-signal-plain" // a text over 2,000 octets comes as a file of this type
	objectReplaced = '\uFFFC'              // stands where somebody is mentioned
)

// messageID names a message as it is named on Signal: by its author's time and its author.
func messageID(timestamp int64, author string) string {
	if timestamp <= 0 || author == "" {
		return ""
	}
	return strconv.FormatInt(timestamp, 10) + "." + author
}

func parseID(id string) (timestamp int64, author string, ok bool) {
	at, author, ok := strings.Cut(id, ".")
	timestamp, err := strconv.ParseInt(at, 10, 64)
	return timestamp, author, ok && err == nil && author != ""
}

// IsPerson tells the address of a direct chat, a UUID, from a group's, which is base64.
func IsPerson(address string) bool {
	return len(address) == 36 && address[8] == '-' && address[13] == '-' && address[18] == '-' && address[23] == '-'
}

// parse reads what signal-cli tells; nil is nobody's business.
func parse(raw json.RawMessage) *received {
	var r received
	if json.Unmarshal(raw, &r) != nil {
		return nil
	}
	if r.Result != nil {
		account := r.Account
		if r = *r.Result; r.Account == "" {
			r.Account = account
		}
	}
	if !IsPerson(r.Envelope.SourceUUID) || r.Envelope.Timestamp <= 0 {
		return nil // signal-cli itself could not tell from whom
	}
	return &r
}

// translate turns a message into what the engine reads, but for what only signal-cli knows (long texts); nil is nobody's business.
// name knows what people call themselves.
func translate(e *envelope, me string, name func(person string) string, now time.Time) *bot.Incoming {
	data := e.Data
	if e.Edit != nil {
		data = e.Edit.Data
	}
	if data == nil || e.SourceUUID == me {
		return nil
	}
	in := &bot.Incoming{
		Room: e.SourceUUID, Direct: true, Person: e.SourceUUID, Name: name(e.SourceUUID),
		ID: messageID(e.Timestamp, e.SourceUUID), Sent: e.when(now), Received: now,
		Encrypted: true, Trust: bot.TrustSigned,
	}
	if data.Group != nil {
		in.Room, in.Direct = data.Group.ID, false
	}
	switch {
	case data.Reaction != nil:
		r := data.Reaction
		in.Kind, in.Text, in.Target = bot.KindReactionOn, r.Emoji, messageID(r.Target, r.Author)
		if r.Remove {
			in.Kind = bot.KindReactOff
		}
		if in.Target == "" || r.Emoji == "" || len(r.Emoji) > maxEmoji {
			return nil
		}
		return in
	case data.Delete != nil:
		in.Kind, in.Target = bot.KindDeletion, messageID(data.Delete.Target, e.SourceUUID)
		if in.Target == "" {
			return nil
		}
		return in
	}
	in.Kind = bot.KindText
	if e.Edit != nil {
		if in.Kind, in.Target = bot.KindEdit, messageID(e.Edit.Target, e.SourceUUID); in.Target == "" {
			return nil
		}
	}
	if data.Quote != nil {
		in.ReplyTo = messageID(data.Quote.ID, data.Quote.AuthorUUID)
	}
	in.Text = data.text(in, me, name)
	in.Files = data.files()
	if data.ViewOnce {
		in.Text, in.Mentioned = "", false // it is not meant to stay
	}
	if in.Text == "" && len(in.Files) == 0 && !in.Mentioned { // to be called by name alone is to be asked
		return nil
	}
	return in
}

// when a message was sent: the author's clock, unless that is ahead of the server's, which would date it in the future.
func (e *envelope) when(now time.Time) time.Time {
	at, server := time.UnixMilli(e.Timestamp), time.UnixMilli(e.Server)
	if e.Server > 0 && at.After(server) {
		at = server
	}
	if at.After(now) {
		at = now
	}
	return at
}

// text is what a message says, with names where it mentions people. Whom it mentions goes into in; the bot's own mention is left
// out of the text.
func (d *dataMessage) text(in *bot.Incoming, me string, name func(person string) string) string {
	names := map[int]string{}
	for i, m := range d.Mentions {
		if i == maxMentions || !IsPerson(m.UUID) {
			break
		}
		if m.UUID == me {
			in.Mentioned = true
			names[m.Start] = ""
			continue
		}
		if !slices.Contains(in.Mentions, m.UUID) {
			in.Mentions = append(in.Mentions, m.UUID)
		}
		names[m.Start] = "@" + cmp.Or(strings.ReplaceAll(name(m.UUID), "\n", " "), "…")
	}
	if len(names) == 0 {
		return strings.ReplaceAll(d.Message, string(objectReplaced), "")
	}
	var b strings.Builder
	at := 0
	for _, r := range d.Message {
		if r == objectReplaced {
			b.WriteString(names[at])
		} else {
			b.WriteRune(r)
		}
		at += max(utf16.RuneLen(r), 1)
	}
	if !in.Mentioned {
		return b.String()
	}
	return strings.TrimLeft(b.String(), " \n:,،") // what follows the bot's name
}

// setsTimer is whether a message sets a direct chat's timer and does nothing else. That it was turned off cannot be told from other empty
// messages: the next text says so.
func (d *dataMessage) setsTimer() bool {
	return d.Group == nil && d.Reaction == nil && d.Delete == nil && d.Expires > 0
}

func (d *dataMessage) files() []bot.File {
	var files []bot.File
	for _, a := range d.Attachments[:min(len(d.Attachments), maxFiles)] {
		if a.Type != longText {
			files = append(files, bot.File{Name: clip(a.Name, maxName), Type: clip(a.Type, maxName), Size: max(0, a.Size), URL: clip(a.ID, maxName)})
		}
	}
	if len(d.Sticker) > 0 && string(d.Sticker) != "null" {
		files = append(files, bot.File{Name: "sticker", Type: "image/webp"})
	}
	return files
}

// whole fetches the rest of a long text. What cannot be had whole must not be taken for all of it.
func (a *Adapter) whole(ctx context.Context, in *bot.Incoming, d *dataMessage) error {
	for _, f := range d.Attachments {
		if f.Type != longText {
			continue
		}
		if f.Size > maxLongText {
			in.Text = strings.Repeat("…", maxLongText/4) // the engine says how long a text may be
			return nil
		}
		params := map[string]any{"id": f.ID}
		a.address(params, in.Room)
		var got struct {
			Data string `json:"data"`
		}
		if err := a.call(ctx, "getAttachment", params, &got); err != nil {
			return err
		}
		text, err := base64.StdEncoding.DecodeString(got.Data)
		if err != nil || len(text) == 0 || !utf8.Valid(text) {
			return errUnreadable
		}
		d.Message = string(text)
		in.Mentions, in.Mentioned = nil, false
		in.Text = d.text(in, a.self(), a.name)
		return nil
	}
	return nil
}

// clip cuts s to at most n octets, at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// take hands one message to the engine.
func (a *Adapter) take(ctx context.Context, raw json.RawMessage) error {
	r := parse(raw)
	if r == nil || r.Account != "" && r.Account != a.cfg.Account {
		return nil // of another account of the same signal-cli
	}
	e := &r.Envelope
	if e.SourceUUID == a.self() {
		return nil // the account's own phone: nobody commands the bot from there
	}
	if r.Exception != nil {
		return a.unreadable(ctx, e, r.Exception.Type)
	}
	a.named(e.SourceUUID, e.SourceName)
	data := e.Data
	if e.Edit != nil {
		data = e.Edit.Data
	}
	if data == nil {
		return nil
	}
	if g := data.Group; g != nil {
		if ok, err := a.groupSpoke(ctx, g.ID, g.Type, g.Revision, e); !ok || err != nil {
			return err
		}
	}
	in := translate(e, a.self(), a.name, time.Now())
	timer := time.Duration(data.Expires) * time.Second
	if in == nil {
		if data.setsTimer() && a.knows(e.SourceUUID) {
			return a.directSpoke(ctx, e.SourceUUID, timer)
		}
		return nil
	}
	// A reaction or a deletion bears no timer, whatever the chat's is.
	if in.Direct && (in.Kind == bot.KindText || in.Kind == bot.KindEdit || !a.knows(in.Person)) {
		if err := a.directSpoke(ctx, in.Person, timer); err != nil {
			return err
		}
	}
	if !in.Direct && (in.Kind == bot.KindText || in.Kind == bot.KindEdit) {
		a.mu.Lock()
		a.wrote[[2]string{in.Room, in.Person}] = true
		a.mu.Unlock()
	}
	if err := a.whole(ctx, in, data); err != nil {
		return a.tell(ctx, in.Room, in.ID, &bot.Notice{Message: Unreadable{}, Key: "unreadable " + in.Person, Again: day})
	}
	return a.deliver(ctx, *in)
}

// deliver hands something to the engine until it is stored: signal-cli will not tell it again.
func (a *Adapter) deliver(ctx context.Context, in bot.Incoming) error {
	for {
		err := a.box().Deliver(ctx, in)
		if err == nil || ctx.Err() != nil || errors.Is(err, bot.ErrStopped) {
			return err
		}
		a.log.Warn().Err(err).Msg("what came in cannot be stored yet")
		if !wait(ctx, storeAgain) {
			return ctx.Err()
		}
	}
}
