package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"starling/locales"
	"starling/locales/markup"
)

// inbox is what an adapter gets.
type inbox struct {
	e       *Engine
	adapter string
}

// Deliver hands over what was received, in order, and returns when all that matters in it is stored. What the engine itself
// stumbles over is logged and not asked for again: it would stumble each time.
func (b inbox) Deliver(ctx context.Context, in ...Incoming) error {
	done := make([]handed, len(in))
	for i := range in {
		if in[i].Kind != KindEcho || b.e.out.waits(in[i].Target) != nil {
			done[i] = b.hand(in[i], false)
		}
	}
	var failed error
	var short context.Context
	for i, d := range done {
		if d.done == nil {
			continue // an echo of what is stored to have arrived
		}
		err := b.wait(ctx, d.done)
		if errors.Is(err, errEarly) {
			if short == nil { // for all of them together
				var cancel func()
				short, cancel = context.WithTimeout(ctx, earlyWait)
				defer cancel()
			}
			_ = b.e.Wait(short, func(Status) bool {
				return !b.e.out.arriving(b.adapter, in[i].Room, cmp.Or(in[i].Target, in[i].ReplyTo))
			}) // or not: it is looked at again now
			done[i] = b.hand(in[i], true)
			err = b.wait(ctx, done[i].done)
		}
		if err != nil && (ours(err) || ctx.Err() != nil) {
			failed = errors.Join(failed, err)
			if ctx.Err() == nil && !errors.Is(err, ErrStopped) && (*done[i].meant || b.e.isCommand(in[i])) {
				b.e.cannotStore(b.adapter, in[i])
			}
		}
	}
	return failed
}

// hand gives one thing to the writer; late says that what it is about had its time to arrive.
func (b inbox) hand(in Incoming, late bool) handed {
	in.Adapter = b.adapter
	meant := new(bool)
	done := b.e.submit("incoming "+string(in.Kind), func(tx *Tx) error {
		defer func() { *meant = tx.meant }()
		once := in // handling changes it
		return tx.receive(&once, late)
	})
	return handed{done, meant}
}

// handed is something that the writer has to handle; meant says, once it is done, whether it was for the bot.
type handed struct {
	done  <-chan error
	meant *bool
}

func (b inbox) wait(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-b.e.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errEarly says that a reaction or reply may be to a message that is just being sent: people can see it before the bot hears from the
// network that they do. earlyWait is how long that call is waited for, by the machine's clock.
var errEarly = errors.New("an answer came before the message that it is to")

const earlyWait = time.Second

func (b inbox) Rooms(ctx context.Context, adapter string) ([]string, error) {
	var all []string
	err := b.e.Do(ctx, "rooms", func(tx *Tx) error {
		rooms, err := tx.roomsWhere(`joined AND adapter = $1`, adapter)
		for _, r := range rooms {
			all = append(all, r.Address)
		}
		return err
	})
	return all, err
}

func (b inbox) InviterAllowance(ctx context.Context, adapter, inviter string, perDay int) (ok bool, err error) {
	err = b.e.Do(ctx, "invitation", func(tx *Tx) error {
		var n int
		day := tx.now.Unix() / 86400
		hash := tx.Hash("inviter", adapter+" "+inviter)
		if _, err := tx.One(`SELECT count FROM invitations WHERE inviter = $1 AND day = $2`, []any{hash, day}, &n); err != nil {
			return err
		}
		if ok = n < perDay; !ok {
			return nil
		}
		return tx.Exec(`INSERT INTO invitations (inviter, day, count) VALUES ($1, $2, 1) ON CONFLICT (inviter, day) DO UPDATE SET count = invitations.count + 1`, hash, day)
	})
	return ok, err
}

// receive handles one thing that came in.
func (tx *Tx) receive(in *Incoming, late bool) error {
	switch in.Kind {
	case KindRoom:
		return tx.roomChanged(in)
	case KindMember:
		return tx.memberChanged(in)
	case KindEcho:
		return tx.echoed(in)
	case KindNotice:
		return tx.noticed(in)
	}
	here, err := tx.RoomAt(in.Adapter, in.Room)
	if err != nil || here == nil || !here.Joined {
		return err
	}
	switch in.Kind {
	case KindText:
		return tx.text(in, here, late)
	case KindEdit:
		return tx.edited(in, here)
	case KindDeletion:
		return tx.deleted(in, here)
	case KindReactionOn, KindReactOff:
		return tx.reacted(in, here, late)
	}
	return nil
}

// first is whether a network id is handled for the first time; it is remembered from now on.
func (tx *Tx) first(in *Incoming) (bool, error) {
	if in.ID == "" {
		return true, nil
	}
	n, err := tx.Changed(`INSERT INTO seen (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, tx.Hash("seen", in.Adapter+" "+in.Room+" "+in.ID), tx.now.UnixMilli())
	return n == 1, err
}

// text routes a message: a command, an answer, or nobody's business.
func (tx *Tx) text(in *Incoming, here *Room, late bool) error {
	if in.ReplyTo != "" && !late && tx.e.out.arriving(in.Adapter, in.Room, in.ReplyTo) {
		if row, _, _, _, _, err := tx.posted(here.ID, in.ReplyTo); err != nil || row == 0 {
			return cmp.Or(err, errEarly)
		}
	}
	spoken := in.Mentioned || here.Direct
	if len(in.Text) > 16*MaxText {
		in.Text = in.Text[:16*MaxText] // is refused below if it was meant for the bot at all
	}
	c := tx.e.commands.read(in.Text, spoken)
	if in.Command != "" {
		c = call{sigil: true, named: true}
		c.node, _, c.lang, c.word = tx.e.commands.match(in.Command, true)
		if line, whole := in.Args[ArgLine]; whole && c.node != nil {
			c.node, c.rest, c.lang, c.word = tx.e.commands.match(in.Command+" "+line, true)
		} else if c.node != nil {
			c.rest = structured(c.node, in.Args)
		}
	}
	d, row, topic, ref, err := tx.answers(in, here, c)
	if err != nil {
		return err
	}
	if d == nil && topic == "" && !c.sigil && !c.named {
		topic = tx.bareTopic(here, in)
	}
	switch {
	case d != nil || topic != "": // an answer
	case strings.TrimSpace(in.Text) == "" && len(in.Files) > 0:
		return nil // a photo: nothing to understand
	case c.node != nil: // a command
	case c.sigil && !c.named:
		if tx.e.commands.root.nearest(c.word, "").node == nil {
			return nil // another program's command
		}
	case c.named: // spoken to, not understood
	default:
		return nil // ordinary talk: not stored, not logged, not answered
	}
	v, all := tx.limit(in, here.ID)
	if v == unheard {
		return nil
	}
	if ok, err := tx.first(in); !ok || err != nil {
		return err
	}
	person, err := tx.Meet(in.Adapter, in.Person, in.Name)
	if err != nil {
		return err
	}
	if topic != "" && c.lang == "" {
		if c.lang, err = tx.saidIn(row); err != nil {
			return err
		}
	}
	t, err := tx.turn(in, here, person, c.lang)
	if err != nil || t.Member != nil && t.Member.Ignored {
		return err
	}
	if here.Encrypted && !in.Encrypted {
		return t.refuseClear()
	}
	if v == warned {
		return t.Done(TooMany{Room: all})
	}
	t.answers = row
	t.Called = t.calledIn(c)
	if d == nil && topic == "" {
		if err := t.lastRoom(); err != nil {
			return err
		}
	}
	return t.attempt(func() error {
		if in.Text, err = clean(in.Text); err != nil {
			return err
		}
		if c.rest, err = clean(c.rest); err != nil {
			return err
		}
		switch {
		case d != nil:
			return t.dialogueAnswer(d, in)
		case topic != "":
			return t.topicAnswer(topic, ref, row, in)
		case c.node != nil:
			return t.run(c.node, c.rest)
		}
		return t.notUnderstood(c)
	})
}

// answers says whether a text answers something: an open dialogue of its author, or a message of the bot.
func (tx *Tx) answers(in *Incoming, here *Room, c call) (d *dialogue, row RowID, topic, ref string, err error) {
	if c.node != nil && (c.sigil || c.called && !here.Direct) {
		return nil, 0, "", "", nil // a command is a command everywhere
	}
	row, topic, ref, _, _, err = tx.posted(here.ID, in.ReplyTo)
	if err != nil {
		return nil, 0, "", "", err
	}
	person, err := tx.personAt(in.Adapter, in.Person)
	if err != nil {
		return nil, 0, "", "", err
	}
	if topic != "" && topic != topicDialogue {
		return nil, row, topic, ref, nil
	}
	if person == nil {
		return nil, 0, "", "", nil
	}
	open, err := tx.dialoguesOf(here.ID, person.ID)
	if err != nil {
		return nil, 0, "", "", err
	}
	inThread := in.Thread != "" && slices.ContainsFunc(open, func(o *dialogue) bool { return o.Thread == in.Thread })
	if in.ReplyTo == "" && !c.sigil && !inThread {
		if row, topic, ref, err := tx.lastAsked(here.ID, person.ID, in.Text); err != nil || topic != "" {
			return nil, row, topic, ref, err
		}
	}
	if len(open) == 0 {
		return nil, 0, "", "", nil
	}
	if topic == topicDialogue {
		for _, o := range open {
			if fmt.Sprint(o.ID) == ref {
				return o, row, "", "", nil
			}
		}
		return nil, 0, "", "", nil
	}
	if in.ReplyTo != "" && row == 0 && in.Thread == "" && !here.Direct {
		return nil, 0, "", "", nil // a reply to somebody else
	}
	last := open[len(open)-1]
	if here.Direct {
		if c.sigil {
			return nil, 0, "", "", nil
		}
		return last, 0, "", "", nil
	}
	if in.Thread != "" {
		for _, o := range slices.Backward(open) {
			if o.Thread == in.Thread {
				return o, 0, "", "", nil
			}
		}
		return nil, 0, "", "", nil
	}
	if row == 0 && in.ReplyTo != "" {
		return nil, 0, "", "", nil
	}
	if ok, err := tx.bare(last, in.Text); err != nil || !ok {
		return nil, 0, "", "", err
	}
	return last, 0, "", "", nil
}

// saidIn is the language in which something was said to somebody; her answer is answered in it where no other is set.
func (tx *Tx) saidIn(row RowID) (lang string, err error) {
	_, err = tx.One(`SELECT lang FROM outbox WHERE id = $1`, []any{row}, &lang)
	return lang, err
}

// askedFor is how long a yes that hangs on nothing still answers what the bot last said to that very person.
const askedFor = 10 * time.Minute

// lastAsked says whether a bare yes or no answers the last thing that the bot said to a person in a room.
func (tx *Tx) lastAsked(room RoomID, person PersonID, text string) (row RowID, topic, ref string, err error) {
	if len(text) > maxBare {
		return 0, "", "", nil
	}
	if a := tx.e.words.answer(&Incoming{Text: text}); !a.Yes && !a.No {
		return 0, "", "", nil
	}
	var at int64
	found, err := tx.One(`SELECT id, topic, ref, at FROM outbox WHERE person = $1 AND room = $2 AND kind = $3 AND state = 1 ORDER BY id DESC LIMIT 1`,
		[]any{person, room, string(OutMessage)}, &row, &topic, &ref, &at)
	if err != nil || !found || topic == topicDialogue || tx.now.Sub(fromMillis(at)) > askedFor {
		return 0, "", "", err
	}
	return row, topic, ref, nil
}

// maxBare bounds what is looked at as an answer of a whole room, in octets.
const maxBare = 40

// bareTopic says whether a text answers something that a capability asked the whole room.
func (tx *Tx) bareTopic(here *Room, in *Incoming) string {
	if here.Direct || in.ReplyTo != "" || in.Thread != "" || len(in.Text) > maxBare {
		return ""
	}
	for _, c := range tx.e.caps {
		if c.Bare != nil {
			if topic := c.Bare(tx, here, in.Text); topic != "" {
				return topic
			}
		}
	}
	return ""
}

// structured makes the typed form of a structured command's arguments.
func structured(n *node, args map[string]string) string {
	var parts []string
	for _, p := range n.Params {
		if v := strings.TrimSpace(args[p.Name]); v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, " ")
}

// refuseClear says, once a day and person, why clear text in an encrypted room is not obeyed.
func (t *Turn) refuseClear() error {
	first, err := t.Once(fmt.Sprintf("clear %d %d %d", t.Here.ID, t.Person.ID, t.now.Unix()/86400))
	if err != nil || !first {
		return err
	}
	return t.Done(ClearText{})
}

// lastRoom remembers which room a person used last: her direct chat then speaks its language.
func (t *Turn) lastRoom() error {
	if t.Here.Direct || t.Person.LastRoom == t.Here.ID {
		return nil
	}
	t.Person.LastRoom = t.Here.ID
	return t.SavePerson(t.Person)
}

func (t *Turn) notUnderstood(c call) error {
	if help := t.e.commands.at("starling"); c.word == "" && help != nil { // only named
		return t.run(help, "")
	}
	if w := t.e.commands.root.nearest(c.word, t.Lang); w.node != nil {
		if t.Here.Lang == "" && !t.Here.Direct {
			t.Lang = w.lang
		}
		return t.Done(DidYouMean{Command: t.e.suggest(w, t.Lang)})
	}
	return t.Done(NotUnderstood{Help: t.Command("starling")})
}

// topicAnswer hands an answer to whoever posted the message.
func (t *Turn) topicAnswer(topic, ref string, row RowID, in *Incoming) error {
	h := t.e.topics[topic]
	if h == nil {
		return nil // of a capability that is gone
	}
	a := t.e.words.answer(in)
	a.Row, t.answers = row, row
	if len(in.Files) > 0 && in.Text == "" {
		return nil
	}
	t.refusal = []PostOption{Topic(topic, ref)} // a reply to it is an answer
	return h(t, ref, a)
}

// attempt runs a handler. When it refuses or breaks, what it did is undone and the person is told why.
func (t *Turn) attempt(do func() error) error {
	if err := t.Exec(`SAVEPOINT attempt`); err != nil {
		return err
	}
	before := t.overlay
	t.overlay.rooms, t.overlay.people = maps.Clone(before.rooms), maps.Clone(before.people)
	err := guard(do)
	if err == nil {
		err = t.vanishes()
	}
	if err == nil {
		return t.Exec(`RELEASE attempt`)
	}
	t.vanishing = nil
	if ours(err) {
		return err // the database itself: nothing is acknowledged, it comes again
	}
	if err := t.Exec(`ROLLBACK TO attempt`); err != nil {
		return err
	}
	if err := t.Exec(`RELEASE attempt`); err != nil { // an attempt around this one has the same name
		return err
	}
	t.e.out.release(t.held[len(before.held):])
	t.overlay = before
	if t.Person == nil {
		return err // a timer: it is logged, nobody is told
	}
	var refused *Refusal
	if errors.As(err, &refused) {
		if refused.Cause != nil {
			t.e.log.Warn().Str("error", unquoted(refused.Cause)).Msg("a command was refused")
		}
		if err = t.Done(refused.Message, append(slices.Clone(t.refusal), refused.opts...)...); err == nil || ours(err) {
			return err
		}
	}
	t.e.log.Error().Str("error", unquoted(err)).Int64("room", int64(t.Here.ID)).Msg("a handler failed")
	t.e.countError()
	return t.Done(Broken{})
}

var quotation = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")

// unquoted is an error for the log: parsers quote what they could not read, and that may be what a person said.
func unquoted(err error) string { return quotation.ReplaceAllString(err.Error(), `"…"`) }

// guard turns a panic into an error.
func guard(do func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("panic: %w\n%s", r, debug.Stack())
		default:
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}

// run calls a command: where, who, with what.
func (t *Turn) run(n *node, rest string) error {
	t.cmd = n
	if n.Where == InRoom && t.Here.Direct && t.Room == t.Here {
		if done, err := t.pickRoom(n, rest); done || err != nil {
			return err
		}
	}
	if n.Do == nil {
		return Refuse(Wrong{What: Missing{Param: "param.action"}, Example: locales.Safe(t.Locales().Text(t.Lang, "example."+strings.Join(n.path, ".")))})
	}
	if n.Where == InRoom && t.Person != nil && !t.present() {
		return Refuse(NotInRoom{})
	}
	if t.Room.Off(n.path[0]) {
		return Refuse(CommandOff{})
	}
	if n.Who == Moderators && !t.Moderator() {
		return t.OnlyModerators()
	}
	if n.Chapter && t.Room.Chapter == "" {
		return Refuse(NeedsChapter{Join: t.Command("room", "setup")})
	}
	args, err := t.arguments(n, rest)
	if err != nil {
		return err
	}
	err = t.May(n.Effect)
	if err == nil {
		err = n.Do(t, args)
	}
	if isStale(err) {
		return t.askAgain(n, rest)
	}
	return err
}

// Run calls another command from within one, with its text: for dialogues that end in one.
func (t *Turn) Run(rest string, path ...string) error { return t.run(t.e.commands.at(path...), rest) }

// pickRoom finds which room a command in a direct chat is about; done means that the person is asked.
func (t *Turn) pickRoom(n *node, rest string) (done bool, err error) {
	rooms, err := t.RoomsOf(t.Person.ID)
	if err != nil {
		return false, err
	}
	switch len(rooms) {
	case 0:
		return false, Refuse(Stranger{})
	case 1:
		return false, t.about(rooms[0])
	}
	return true, t.Start("bot.room", Draft{"command": strings.Join(n.path, " "), "rest": rest})
}

// about makes a room the one that this turn is about.
func (t *Turn) about(r *Room) (err error) {
	t.Room = r
	t.Member, err = t.Tx.Member(r.ID, t.Person.ID)
	return err
}

// whichRoom is the dialogue that asks what a command in a direct chat is about.
var whichRoom = Dialogue{
	Name: "bot.room",
	Steps: func(t *Turn, d Draft) []Step {
		rooms, err := t.RoomsOf(t.Person.ID)
		if err != nil {
			panic(err)
		}
		var options []Option
		for _, r := range rooms {
			options = append(options, Option{Value: fmt.Sprint(r.ID), Label: r.Called()})
		}
		return []Step{{Field: "room", Ask: WhichRoom{}, Choices: options}}
	},
	Done: func(t *Turn, d Draft) error {
		rooms, err := t.RoomsOf(t.Person.ID)
		if err != nil {
			return err
		}
		for _, r := range rooms {
			if fmt.Sprint(r.ID) == d["room"] {
				if err := t.about(r); err != nil {
					return err
				}
				// When the command refuses, the room is answered for all the same: the question is not asked again.
				t.refusal = nil
				return t.attempt(func() error { return t.run(t.e.commands.at(strings.Fields(d["command"])...), d["rest"]) })
			}
		}
		return Refuse(Stranger{})
	},
}

// reacted routes a reaction to what it was put on.
func (tx *Tx) reacted(in *Incoming, here *Room, late bool) error {
	row, topic, ref, _, _, err := tx.posted(here.ID, in.Target)
	if err == nil && row == 0 && !late && tx.e.out.arriving(in.Adapter, in.Room, in.Target) {
		return errEarly
	}
	if err != nil || row == 0 || topic == "" {
		return err
	}
	v, _ := tx.limit(in, 0)
	if v == unheard {
		return nil
	}
	if ok, err := tx.first(in); !ok || err != nil {
		return err
	}
	person, err := tx.Meet(in.Adapter, in.Person, in.Name)
	if err != nil {
		return err
	}
	lang, err := tx.saidIn(row)
	if err != nil {
		return err
	}
	t, err := tx.turn(in, here, person, lang)
	if err != nil || t.Member != nil && t.Member.Ignored {
		return err
	}
	t.reply, t.thread, t.answers = in.Target, "", row
	if p, err := tx.parcel(row); err != nil {
		return err
	} else if p.Thread != "" {
		t.thread = p.Thread
	}
	if v == warned {
		return t.Done(TooMany{})
	}
	return t.attempt(func() error {
		if topic != topicDialogue {
			return t.topicAnswer(topic, ref, row, in)
		}
		open, err := tx.dialoguesOf(here.ID, person.ID)
		if err != nil {
			return err
		}
		for _, o := range open {
			if fmt.Sprint(o.ID) == ref && in.Kind == KindReactionOn {
				return t.dialogueReaction(o, row, in)
			}
		}
		return nil
	})
}

// edited takes the edit of an answer in an open dialogue.
func (tx *Tx) edited(in *Incoming, here *Room) error {
	person, err := tx.personAt(in.Adapter, in.Person)
	if err != nil || person == nil {
		return err
	}
	open, err := tx.dialoguesOf(here.ID, person.ID)
	if err != nil {
		return err
	}
	for _, d := range open {
		field := d.gaveIn(in.Target)
		if field == "" {
			continue
		}
		if v, _ := tx.limit(in, 0); v != heard {
			return nil
		}
		if ok, err := tx.first(in); !ok || err != nil {
			return err
		}
		if d.Edited == nil {
			d.Edited = map[string]string{}
		}
		if d.Edited[field] = in.ID; in.ID != "" { // whatever comes of it
			if err := tx.saveDialogue(d); err != nil {
				return err
			}
		}
		in.Thread = d.Thread
		t, err := tx.turn(in, here, person, d.Lang)
		if err != nil || t.Member != nil && t.Member.Ignored {
			return err
		}
		t.reply = in.Target // an edit is nothing that one can reply to
		if here.Encrypted && !in.Encrypted {
			return t.refuseClear()
		}
		return t.attempt(func() error {
			if in.Text, err = clean(in.Text); err != nil {
				return err
			}
			return t.changeAnswer(d, field, in.Text)
		})
	}
	return nil
}

// deleted asks the author of a record, whose message was deleted, whether to withdraw it.
func (tx *Tx) deleted(in *Incoming, here *Room) error {
	rec, err := tx.recordFrom(in.Adapter, in.Room, in.Target)
	if err != nil || rec == nil || rec.Room != here.ID {
		return err
	}
	person, err := tx.personAt(in.Adapter, in.Person)
	if err != nil || person == nil {
		return err
	}
	if v, _ := tx.limit(in, 0); v != heard {
		return nil
	}
	t, err := tx.turn(in, here, person, "")
	if err != nil || t.Member == nil || t.Member.Ignored || rec.Author != person.ID && !t.Moderator() {
		return err
	}
	if ok, err := tx.first(in); !ok || err != nil {
		return err
	}
	t.reply, t.thread = "", ""
	return t.attempt(func() error {
		return t.Done(AskWithdraw{Code: rec.Code()}, About(rec), Topic(topicWithdraw, rec.ID), Buttons("✅", "❌"))
	})
}

// roomChanged takes in what became of the bot's place in a room.
func (tx *Tx) roomChanged(in *Incoming) error {
	c := in.RoomChange
	address := in.Room
	r, err := tx.RoomAt(in.Adapter, address)
	if err != nil {
		return err
	}
	if c.Replaces != "" && (r == nil || r.Chapter == "") {
		old, err := tx.RoomAt(in.Adapter, c.Replaces)
		if err != nil {
			return err
		}
		switch {
		case old == nil, old.Encrypted && !c.Encrypted: // never to a weaker room: it starts anew
		case r == nil:
			r, old.Address = old, address
		case old.Joined: // the bot was here before it heard which room this one replaces
			if err := tx.changePlaces(old, r); err != nil {
				return err
			}
			r = old
		}
	}
	if r == nil {
		if !c.Joined {
			return nil
		}
		r = &Room{Adapter: in.Adapter, Address: address, Settings: map[string]string{}}
	}
	was := r.Joined
	r.Joined = c.Joined
	if c.Joined {
		r.Encrypted = r.Encrypted || c.Encrypted
		r.Direct = c.Direct
		r.setTimer(c.Timer)
		if name := markup.Truncate(markup.Line(c.Name), 80); name != "" && !c.Direct { // that of a direct chat is a person's
			r.Name = name
		}
	}
	var inviter *Person
	if c.Inviter != "" {
		if inviter, err = tx.Meet(in.Adapter, c.Inviter, ""); err != nil {
			return err
		}
		r.Inviter = inviter.ID
	}
	if was && !r.Joined {
		return tx.outOf(r)
	}
	if err := tx.SaveRoom(r); err != nil {
		return err
	}
	if c.Members != nil {
		if err := tx.setMembers(r, c.Members); err != nil {
			return err
		}
	}
	if !r.Joined || !c.Fresh {
		return nil
	}
	if ok, err := tx.first(in); !ok || err != nil {
		return err // greeted before a crash
	}
	if !r.Direct {
		inviter = nil // the room is greeted
	}
	t, err := tx.turn(&Incoming{Adapter: in.Adapter, Room: address, Sent: in.Sent, Kind: KindRoom}, r, inviter, "")
	if err != nil {
		return err
	}
	return t.hooks("a room was not greeted", func(c Capability) func(*Turn) error { return c.Joined })
}

// changePlaces gives each of two rooms the other's address. The bot is in old's new place only.
func (tx *Tx) changePlaces(old, r *Room) error {
	if err := tx.outOf(r); err != nil {
		return err
	}
	here, there := r.Address, old.Address
	r.Address = fmt.Sprintf("changes places with %d", old.ID) // no two rooms have one address, not even for a moment
	if err := tx.SaveRoom(r); err != nil {
		return err
	}
	old.Address, r.Address = here, there
	return errors.Join(tx.SaveRoom(old), tx.SaveRoom(r))
}

func (tx *Tx) setMembers(r *Room, members map[string]MemberInfo) error {
	present := map[PersonID]bool{}
	for _, address := range slices.Sorted(maps.Keys(members)) {
		m := members[address]
		p, err := tx.Meet(r.Adapter, address, m.Name)
		if err != nil {
			return err
		}
		present[p.ID] = true
		if err := tx.place(r.ID, p.ID, true, m.Moderator); err != nil {
			return err
		}
	}
	known, err := tx.Members(r.ID)
	if err != nil {
		return err
	}
	for _, m := range known {
		if !present[m.Person] {
			if err := tx.place(r.ID, m.Person, false, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// place notes a person's place in a room, if it changed.
func (tx *Tx) place(room RoomID, person PersonID, present, moderator bool) error {
	m, err := tx.Member(room, person)
	if err != nil {
		return err
	}
	if m == nil {
		if !present {
			return nil
		}
		m = &Member{Person: person}
	} else if m.Present == present && m.Moderator == moderator {
		return nil
	}
	if present && !m.Present {
		m.Since = tx.now
	}
	m.Present, m.Moderator = present, moderator
	return tx.SaveMember(room, *m)
}

// memberChanged follows who is in a room and who moderates it.
func (tx *Tx) memberChanged(in *Incoming) error {
	r, err := tx.RoomAt(in.Adapter, in.Room)
	if err != nil || r == nil {
		return err
	}
	if !in.Member.Joined {
		p, err := tx.personAt(in.Adapter, in.Person)
		if err != nil || p == nil {
			return err
		}
		return tx.place(r.ID, p.ID, false, false)
	}
	p, err := tx.Meet(in.Adapter, in.Person, in.Name)
	if err != nil {
		return err
	}
	return tx.place(r.ID, p.ID, true, in.Member.Moderator)
}

// table builds what the engine reads from its capabilities.
func (e *Engine) table() error {
	var err error
	if e.commands, err = buildTable(e.caps, e.cfg.Locales, e.cfg.Name); err != nil {
		return err
	}
	e.words = loadWords(e.cfg.Locales)
	e.kinds, e.letters = map[string]RecordKind{}, map[string]string{}
	e.dialogues = map[string]Dialogue{whichRoom.Name: whichRoom, still.Name: still}
	e.topics = map[string]func(*Turn, string, Answer) error{topicWithdraw: withdrawAnswer, topicNotice: noticeAnswer, topicAsked: askedDone}
	e.timers = map[string]func(*Turn, string) error{timerExpire: expireDue, timerVanish: vanish, timerSweep: sweep}
	for _, c := range e.caps {
		for _, k := range c.Kinds {
			if other, taken := e.letters[k.Letter]; taken {
				return fmt.Errorf("%s and %s both begin their codes with %s", other, k.Name, k.Letter)
			}
			if _, taken := e.kinds[k.Name]; taken {
				return fmt.Errorf("two kinds of record are called %s", k.Name)
			}
			e.kinds[k.Name], e.letters[k.Letter] = k, k.Name
		}
		for _, d := range c.Dialogues {
			if _, taken := e.dialogues[d.Name]; taken {
				return fmt.Errorf("two dialogues are called %s", d.Name)
			}
			e.dialogues[d.Name] = d
		}
		for name, topic := range c.Topics {
			if _, taken := e.topics[name]; taken || name == topicDialogue {
				return fmt.Errorf("two topics are called %s", name)
			}
			e.topics[name] = topic
		}
		for name, timer := range c.Timers {
			if _, taken := e.timers[name]; taken {
				return fmt.Errorf("two timers are called %s", name)
			}
			e.timers[name] = timer
		}
	}
	return nil
}

// Messages lists all that the engine and the capabilities say, for the registry.
func Messages(r *locales.Registry, caps ...Capability) {
	r.Add(engineMessages...)
	for _, c := range caps {
		r.Add(c.Messages...)
	}
}

// seenFor is how long a network id is remembered: longer than any network hands the same message over again.
const seenFor = 14 * 24 * time.Hour
