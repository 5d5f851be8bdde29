package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// relayMark is the field by which starlings know each other's messages; none of them answers one.
const relayMark = "org.starling.relay"

// What people may put into an event is bounded by the event's own limit of 64 KiB; these bound what is made of it.
const (
	maxName     = 255
	maxEmoji    = 64
	maxMentions = 50
	maxArgs     = 32
)

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

// translate turns one message event of a room into what the engine reads. It returns nil for what is nobody's business.
func (a *Adapter) translate(ctx context.Context, b *batch, r *room, evt *event.Event) (*bot.Incoming, error) {
	if err := evt.Content.ParseRaw(evt.Type); err != nil && !errors.Is(err, event.ErrContentAlreadyParsed) {
		return nil, nil
	}
	if evt.ID == "" || evt.Sender == "" {
		return nil, nil // of nobody
	}
	if _, relayed := evt.Content.Raw[relayMark]; relayed {
		return nil, nil
	}
	now := a.cfg.Now()
	in := &bot.Incoming{
		Room:      r.ID.String(),
		Person:    evt.Sender.String(),
		ID:        evt.ID.String(),
		Sent:      time.UnixMilli(evt.Timestamp),
		Received:  now,
		Encrypted: evt.Mautrix.WasEncrypted,
		Trust:     trust(evt),
		Direct:    r.Direct,
	}
	if in.Sent.After(now) {
		in.Sent = now
	}
	name, err := a.store.state.name(ctx, r.ID, evt.Sender)
	if err != nil {
		return nil, err
	}
	in.Name = name
	switch c := evt.Content.Parsed.(type) {
	case *event.MessageEventContent:
		own, err := a.store.state.name(ctx, r.ID, a.me)
		if err != nil || !a.message(in, evt, c, own) {
			return nil, err
		}
		return in, nil
	case *event.ReactionEventContent:
		return a.reacted(ctx, b, r, in, c)
	case *event.RedactionEventContent:
		target := c.Redacts
		if target == "" {
			target = evt.Redacts
		}
		return a.redacted(ctx, b, in, target)
	}
	return nil, nil
}

// message fills in what a text, an edit or a file says. It tells whether there is anything.
func (a *Adapter) message(in *bot.Incoming, evt *event.Event, c *event.MessageEventContent, ownName string) bool {
	in.Kind = bot.KindText
	rel := c.RelatesTo
	if target := rel.GetReplaceID(); target != "" {
		in.Kind, in.Target = bot.KindEdit, target.String()
		switch {
		case c.NewContent != nil:
			mentions := c.Mentions
			c = c.NewContent
			if c.Mentions == nil {
				c.Mentions = mentions
			}
		default:
			c.Body = strings.TrimPrefix(c.Body, "* ")
		}
	}
	in.Thread = rel.GetThreadParent().String()
	in.ReplyTo = rel.GetNonFallbackReplyTo().String()

	switch c.MsgType {
	case event.MsgText:
		in.Text = c.Body
	case event.MsgImage, event.MsgVideo, event.MsgAudio, event.MsgFile:
		in.Files = []bot.File{fileOf(c)}
		in.Text = c.GetCaption()
	case "":
		if evt.Type != event.EventSticker {
			return false
		}
		in.Files = []bot.File{fileOf(c)}
	default: // notices, and kinds that say nothing to a bot
		return false
	}
	if rel.GetReplyTo() != "" {
		in.Text = event.TrimReplyFallbackText(in.Text)
	}
	in.Mentions, in.Mentioned = a.mentions(c)
	in.Mentioned = in.Mentioned || a.addressed(in.Text, ownName)
	if cmd := c.MSC4391BotCommand; cmd != nil && cmd.Command != "" && (c.Mentions == nil || in.Mentioned || in.Direct) {
		in.Command, in.Args = cmd.Command, arguments(cmd.Arguments)
	}
	return true
}

func fileOf(c *event.MessageEventContent) bot.File {
	f := bot.File{Name: clip(c.GetFileName(), maxName), URL: string(c.URL)}
	if c.File != nil {
		f.URL = string(c.File.URL)
	}
	if c.Info != nil {
		f.Type, f.Size = clip(c.Info.MimeType, maxName), max(0, int64(c.Info.Size))
	}
	return f
}

var pill = regexp.MustCompile(`href=["']https://matrix\.to/#/((?:@|%40)[^"'?]{1,400})`)

// mentions lists the people that a message mentions, in the order of its text, and tells whether the bot is among them.
// Where the message says itself whom it mentions (m.mentions), links to people are just links.
func (a *Adapter) mentions(c *event.MessageEventContent) (people []string, me bool) {
	var linked []string
	for _, m := range pill.FindAllStringSubmatch(c.FormattedBody, maxMentions) {
		if person := unescapePill(m[1]); person != "" {
			linked = append(linked, person)
		}
	}
	all := linked
	if c.Mentions != nil {
		all = nil
		for _, p := range linked {
			if slices.Contains(c.Mentions.UserIDs, id.UserID(p)) {
				all = append(all, p)
			}
		}
		for _, p := range c.Mentions.UserIDs {
			all = append(all, p.String())
		}
	}
	for _, p := range all {
		switch {
		case p == a.me.String():
			me = true
		case len(people) < maxMentions && len(p) <= 255 && !slices.Contains(people, p):
			people = append(people, p)
		}
	}
	return people, me
}

func unescapePill(s string) string {
	uri, err := id.ParseMatrixURIOrMatrixToURL("https://matrix.to/#/" + s)
	if err != nil {
		return ""
	}
	return uri.UserID().String()
}

// addressed tells whether a text begins with the bot's name or address, as people write to somebody in a room, or with a
// command of this very bot (/needs@bot:server).
func (a *Adapter) addressed(text, ownName string) bool {
	if first := strings.Fields(text); len(first) > 0 && strings.ContainsRune("/!", []rune(first[0])[0]) {
		_, of, _ := strings.Cut(first[0], "@")
		return strings.EqualFold(of, a.me.Localpart()) || strings.EqualFold("@"+of, a.me.String())
	}
	text = strings.TrimLeft(text, " \t\n@\u2066\u2067\u2068")
	for _, name := range []string{ownName, a.me.Localpart(), strings.TrimPrefix(a.me.String(), "@")} {
		if name == "" || len(text) < len(name) || !strings.EqualFold(text[:len(name)], name) {
			continue
		}
		// The name alone may be said about it.
		if rest := strings.TrimLeft(text[len(name):], "\u2069"); rest != "" && strings.ContainsRune(":,;،؛ \n", []rune(rest)[0]) {
			return true
		}
	}
	return false
}

// arguments flattens the values of a structured command (MSC4391) to text.
func arguments(raw json.RawMessage) map[string]string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var values map[string]any
	if dec.Decode(&values) != nil || len(values) > maxArgs {
		return nil
	}
	args := make(map[string]string, len(values))
	for k, v := range values {
		if s, ok := flat(v); ok {
			args[k] = s
		}
	}
	return args
}

func flat(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	case []any:
		var parts []string
		for _, e := range v {
			if s, ok := flat(e); ok {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, " "), true
	case map[string]any: // a room or event id with its servers
		for _, key := range []string{"event_id", "id", "room_id", "user_id"} {
			if s, ok := v[key].(string); ok {
				return s, true
			}
		}
	}
	return "", false
}

func (a *Adapter) reacted(ctx context.Context, b *batch, r *room, in *bot.Incoming, c *event.ReactionEventContent) (*bot.Incoming, error) {
	emoji, target := c.RelatesTo.GetAnnotationKey(), c.RelatesTo.GetAnnotationID()
	if emoji == "" || target == "" || len(emoji) > maxEmoji {
		return nil, nil
	}
	in.Kind, in.Text, in.Target = bot.KindReactionOn, emoji, target.String()
	own := b.own[target]
	if !own {
		var err error
		if own, err = a.store.isOwn(ctx, target); err != nil {
			return nil, err
		}
	}
	if !own {
		return in, nil
	}
	b.reactions[id.EventID(in.ID)] = reaction{ID: id.EventID(in.ID), Target: target, Person: id.UserID(in.Person), Emoji: emoji}
	if !r.Encrypted || in.Encrypted {
		return in, nil
	}
	var err error
	in.Trust, err = a.reactorTrust(ctx, id.UserID(in.Person))
	return in, err
}

// redacted tells what a redaction takes away: a reaction that is known, else a message.
func (a *Adapter) redacted(ctx context.Context, b *batch, in *bot.Incoming, target id.EventID) (*bot.Incoming, error) {
	if target == "" {
		return nil, nil
	}
	in.Kind, in.Target = bot.KindDeletion, target.String()
	r, ok := b.reactions[target]
	if !ok {
		known, err := a.store.reaction(ctx, target)
		if err != nil {
			return nil, err
		}
		if known == nil {
			return in, nil
		}
		r = *known
	}
	// A moderator may have taken it away: it is still the reaction of who put it there.
	if in.Person != r.Person.String() {
		in.Person, in.Name = r.Person.String(), ""
	}
	in.Kind, in.Target, in.Text = bot.KindReactOff, r.Target.String(), r.Emoji
	return in, nil
}
