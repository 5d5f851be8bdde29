package alert

import (
	"slices"
	"strings"
	"time"

	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

const (
	// confirmWithin is how long a preview waits.
	confirmWithin = 10 * time.Minute
	// lateBy is how late the end of that time may come before it begins anew.
	lateBy = time.Minute
	// knownFor is how long a second person must have been in the room.
	knownFor = 24 * time.Hour
	// deliverWithin is how long an alert is tried: its time of day stands without the day.
	deliverWithin = 24 * time.Hour
	// maxPlaces is how many places a preview names.
	maxPlaces = 8
)

// Rules about who may raise an alert: the room's setting bot.SettingRaise.
const (
	ruleAnyone     = "anyone"
	ruleTwo        = "two"
	ruleModerators = "moderators"
)

func rule(r *bot.Room) string {
	switch r.Settings[bot.SettingRaise] {
	case ruleAnyone:
		return ruleAnyone
	case ruleModerators:
		return ruleModerators
	}
	return ruleTwo
}

// raise begins an alert: what was not said is asked.
func raise(t *bot.Turn, a bot.Args) error {
	if err := mayRaise(t); err != nil {
		return err
	}
	if t.Here.Encrypted && !t.Room.Encrypted {
		return bot.Refuse(SayThere{})
	}
	if _, _, err := reach(t, t.Encrypted()); err != nil {
		return err
	}
	d := bot.Draft{"lang": t.Called}
	if text := a.Text("alert"); text != "" {
		d["given"] = "yes"
		d["text"] = text
		if u, rest := urgencyFirst(t.Locales(), text); u != "" {
			d["urgency"], d["text"] = u, rest
		}
	}
	return t.Start(raising.Name, d)
}

// urgencyFirst reads an urgency that stands before the text, set off by a colon or comma: "now: police at the door".
func urgencyFirst(l *locales.Bundle, text string) (urgency, rest string) {
	i := strings.IndexAny(text, ":,،")
	if i < 0 {
		return "", text
	}
	head := markup.FoldWord(text[:i])
	rest = strings.TrimSpace(strings.TrimLeft(text[i:], ":,،"))
	for _, u := range urgencies {
		for _, words := range l.Words(urgencyWords(u)) {
			if rest != "" && slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == head }) {
				return u, rest
			}
		}
	}
	return "", text
}

// raising asks what is missing; its end is the preview, which is confirmed in the room.
var raising = bot.Dialogue{
	Name: "alert.raise",
	Steps: func(_ *bot.Turn, d bot.Draft) []bot.Step {
		var steps []bot.Step
		if d["given"] == "" {
			steps = append(steps, bot.Step{Field: "text", Ask: AskText{}, Hint: TextExample{}})
		}
		s := bot.Step{Field: "urgency", Ask: AskUrgency{}}
		for _, u := range urgencies {
			s.Choices = append(s.Choices, bot.Option{Value: u, Label: UrgencyName{Urgency: urgencyTerm(u)}, Words: urgencyWords(u)})
		}
		return append(steps, s)
	},
	Done: propose,
}

// mayRaise says whether this person may raise or clear an alert for this room's chapter.
func mayRaise(t *bot.Turn) error {
	if err := maySpeak(t); err != nil {
		return err
	}
	if rule(t.Room) == ruleModerators {
		return moderatorsOnly(t)
	}
	return nil
}

// maySpeak says whether this room may speak for its chapter.
func maySpeak(t *bot.Turn) error {
	if t.Room.Speaks && t.Room.Chapter != "" {
		return nil
	}
	c, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		return err
	}
	if c == nil {
		return bot.Refuse(bot.NeedsChapter{Join: t.Command("room", "setup")})
	}
	name, err := t.NameIn(t.Room, c)
	if err != nil {
		return err
	}
	first, err := t.Tx.Room(c.Room)
	if err != nil {
		return err
	}
	return bot.Refuse(NotSpeaking{Chapter: name, Room: first.Name, Leave: t.Command("room", "leave"), Join: t.Command("room", "join")})
}

func moderatorsOnly(t *bot.Turn) error {
	if t.Moderator() {
		return nil
	}
	names, err := t.Moderators(t.Room.ID)
	if err != nil {
		return err
	}
	return bot.Refuse(bot.OnlyModerators{Names: names})
}

// mayConfirm says whether this person's yes sends what that author asked for.
func mayConfirm(t *bot.Turn, author bot.PersonID) error {
	if err := mayRaise(t); err != nil {
		return err
	}
	if rule(t.Room) != ruleTwo {
		return nil
	}
	if t.Person.ID == author {
		return bot.Refuse(AnotherPerson{})
	}
	if !t.Moderator() && (t.Member == nil || t.Member.Since.After(t.Now().Add(-knownFor))) {
		return bot.Refuse(TooNew{})
	}
	return nil
}

// reach gives the rooms that an alert from here goes to; none is a refusal.
func reach(t *bot.Turn, encrypted bool) (rooms []*bot.Room, withheld int, err error) {
	rooms, withheld, err = t.Reach(t.Room.Chapter, kind, encrypted, t.Room.ID)
	if err != nil || len(rooms) > 0 {
		return rooms, withheld, err
	}
	name, err := chapterName(t, t.Room, t.Room.Chapter)
	if err != nil {
		return nil, 0, err
	}
	return nil, 0, bot.Refuse(NoReach{Chapter: name, Withheld: withheldRooms(withheld), Follow: t.Command("relay", "follow")})
}

func withheldRooms(n int) any {
	if n == 0 {
		return nil
	}
	return Withheld{Count: n}
}

// propose keeps the alert as a draft and shows its preview in the room.
func propose(t *bot.Turn, d bot.Draft) error {
	if err := mayRaise(t); err != nil {
		return err
	}
	b := body{MsgType: typeAlert, Urgency: d["urgency"], Description: d["text"], Language: d["lang"], Zone: zoneOf(t.Room), State: stateDraft}
	r, err := t.NewRecord(kind, b, t.Now().Add(keep))
	if err != nil {
		return err
	}
	rooms, withheld, err := reach(t, r.Encrypted)
	if err != nil {
		return err
	}
	p := Preview{Mark: mark(b.Urgency), Urgency: urgencyTerm(b.Urgency), Lines: quote(b.Description), Withheld: withheldRooms(withheld), Confirm: confirmTerm(t.Room)}
	if err := p.name(t, rooms); err != nil {
		return err
	}
	return ask(t, r, p)
}

// confirmTerm says who confirms, and how.
func confirmTerm(r *bot.Room) locales.Term {
	how := ".reaction"
	if r.ConfirmByWord() {
		how = ".word"
	}
	return locales.Term("alert.confirm_" + rule(r) + how)
}

// ask shows a preview in the room, wherever it was asked for, and lets it lapse when nobody confirms.
func ask(t *bot.Turn, r *bot.Record, preview any, opts ...bot.PostOption) error {
	opts = append(opts, bot.About(r), bot.Topic(topicPreview, r.ID), bot.WithPriority(bot.PriorityAlert))
	if !t.Room.ConfirmByWord() {
		opts = append(opts, bot.Buttons("✅", "❌"))
	}
	if err := t.At(t.Now().Add(confirmWithin), timerLapse, r.ID); err != nil {
		return err
	}
	if t.Here.ID == t.Room.ID {
		return t.Done(preview, append(opts, bot.InMain())...)
	}
	if _, err := t.Say(preview, opts...); err != nil {
		return err
	}
	return t.Done(AskedThere{Room: t.Room.Name})
}

// name fills in which rooms a preview reaches, by chapter; rooms of the own one by their names.
func (p *Preview) name(t *bot.Turn, rooms []*bot.Room) error {
	var places []*Place
	byChapter := map[string]*Place{}
	chapters, langs := map[string]bool{}, map[string]bool{}
	for _, r := range rooms {
		place := byChapter[r.Chapter]
		if place == nil {
			name, err := placeName(t, r, t.Room.Chapter)
			if err != nil {
				return err
			}
			place = &Place{Name: name}
			places = append(places, place)
			if r.Chapter != t.Room.Chapter {
				byChapter[r.Chapter] = place
			}
		}
		chapters[r.Chapter] = true
		if l := locales.Lang(r.Lang); l != "" {
			langs[r.Lang] = true
			if !slices.Contains(place.Langs, any(l)) {
				place.Langs = append(place.Langs, l)
			}
		}
	}
	p.Rooms.Count, p.Chapters.Count = len(rooms), len(chapters)
	if len(langs) > 0 {
		p.Languages = InLanguages{Count: len(langs)}
	}
	p.More = max(0, len(places)-maxPlaces)
	for _, place := range places[:len(places)-p.More] {
		p.Places = append(p.Places, *place)
	}
	var err error
	p.Chapter, err = chapterName(t, t.Room, t.Room.Chapter)
	return err
}

// chapterName is how a room reads a chapter's name; empty for a chapter that is gone.
func chapterName(t *bot.Turn, reader *bot.Room, chapter string) (bot.ChapterName, error) {
	c, err := t.Chapter(chapter)
	if err != nil || c == nil {
		return bot.ChapterName{}, err
	}
	return t.NameIn(reader, c)
}

// placeName names a room to people of a chapter: by its own name to its own chapter, else by its chapter's.
func placeName(t *bot.Turn, r *bot.Room, chapter string) (any, error) {
	if r.Chapter == chapter && r.Name != "" {
		return r.Name, nil
	}
	return chapterName(t, t.Room, r.Chapter)
}

// previewAnswer takes what people of the room say to a preview.
func previewAnswer(t *bot.Turn, id string, a bot.Answer) error {
	r, b, err := load(t, id)
	if err != nil || r == nil || b.State != stateDraft || !a.On || r.Room != t.Room.ID {
		return err
	}
	if a.Typed && t.In.ReplyTo == "" {
		return nil // a yes that hangs on nothing may be said to anybody: it sends no alert, a no withdraws none
	}
	switch {
	case a.No:
		if r.Author != t.Person.ID && rule(t.Room) == ruleModerators {
			if err := moderatorsOnly(t); err != nil {
				return err
			}
		}
		if err := t.May(bot.Changes); err != nil {
			return err
		}
		return drop(t, r, b, Dropped{})
	case !a.Yes:
		return nil
	case !a.Typed && t.Room.ConfirmByWord():
		return bot.Refuse(bot.TypeYes{})
	}
	if err := mayConfirm(t, r.Author); err != nil {
		return err
	}
	if err := t.May(bot.Sends); err != nil {
		return err
	}
	if err := t.Unschedule(timerLapse, id); err != nil {
		return err
	}
	if b.MsgType == typeCancel {
		return sendClear(t, r, b)
	}
	return send(t, r, b)
}

// lapse ends a preview that nobody confirmed.
func lapse(t *bot.Turn, id string) error {
	r, b, err := load(t, id)
	if err != nil || r == nil || b.State != stateDraft {
		return err
	}
	if t.Now().Sub(t.Time) > lateBy { // the bot was away: who confirmed meanwhile is asked again
		return t.At(t.Now().Add(confirmWithin), timerLapse, id)
	}
	return drop(t, r, b, Lapsed{})
}

// drop ends a preview without sending anything, and lets go of its words.
func drop(t *bot.Turn, r *bot.Record, b body, say any) error {
	r.Expires = t.Now()
	if err := t.Revise(r, body{MsgType: b.MsgType, State: stateDropped}); err != nil {
		return err
	}
	if err := t.Unschedule(timerLapse, r.ID); err != nil {
		return err
	}
	return editPreview(t, r.ID, say)
}

// editPreview changes what the origin was shown of an alert.
func editPreview(t *bot.Turn, id string, msg any) error {
	row, err := previewRow(t, id)
	if err != nil || row == 0 {
		return err
	}
	return t.Edit(row, msg)
}

// previewRow is the message in which the origin sees its alert; 0 when it is no longer known.
func previewRow(t *bot.Turn, id string) (bot.RowID, error) {
	all, err := t.Deliveries(id)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(all, func(d bot.Delivery) bool { return d.Topic == topicPreview })
	if i < 0 {
		return 0, nil
	}
	return all[i].Row, nil
}

// send hands a confirmed alert to every room that hears the chapter now.
func send(t *bot.Turn, r *bot.Record, b body) error {
	rooms, _, err := reach(t, r.Encrypted)
	if err != nil {
		return err
	}
	b.State, b.Sent, b.Expires = stateSent, t.Now(), t.Now().Add(current(b.Urgency))
	r.Scope, r.Expires = bot.ScopeFollowers, b.Expires.Add(keep)
	if err := t.Revise(r, b); err != nil {
		return err
	}
	if err := editPreview(t, r.ID, numbers{rooms: len(rooms)}.sent(r, b)); err != nil {
		return err
	}
	for _, room := range rooms {
		msg, err := framed(t, r, b, room)
		if err != nil {
			return err
		}
		if _, err := t.Post(room.ID, msg, bot.Rings(), bot.About(r), bot.Topic(topicAnswer, r.ID), bot.Buttons(emojiSeen, emojiHelp),
			bot.Origin(r.Room), t.Confirmed(rule(t.Room) == ruleModerators), bot.Expires(t.Now().Add(deliverWithin))); err != nil {
			return err
		}
	}
	return nil
}

// framed is an alert as a room reads it.
func framed(t *bot.Turn, r *bot.Record, b body, room *bot.Room) (any, error) {
	name, err := chapterName(t, room, r.Chapter)
	if err != nil {
		return nil, err
	}
	if b.State == stateOver {
		return Over{Chapter: name, At: times(b.Cleared, b.Zone, room), Lines: quote(b.Description), In: foreign(b.Language, room), Code: r.Code()}, nil
	}
	return Alert{Mark: mark(b.Urgency), Chapter: name, Urgency: urgencyTerm(b.Urgency), At: times(b.Sent, b.Zone, room),
		Lines: quote(b.Description), In: foreign(b.Language, room), Code: r.Code()}, nil
}

// foreign names the language of a text where it is not the room's.
func foreign(lang string, room *bot.Room) any {
	if lang == "" || lang == room.Lang {
		return nil
	}
	return locales.Lang(lang)
}
