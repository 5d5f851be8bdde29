package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/adapters/matrix"
	"starling/adapters/rig"
	"starling/bot"
	"starling/e2e/lab"
)

// matrixStage is a homeserver with the people of all conversations.
type matrixStage struct {
	server *lab.Dendrite
	crowd  crowd[*lab.Person]
	stage  *mautrix.Client // makes the rooms, and is not in them when the bot comes
}

func newMatrixStage(t *testing.T) *matrixStage {
	w := &matrixStage{server: lab.StartDendrite(t)}
	humans := lab.StartHumans(t, w.server)
	w.crowd.come = func(ctx context.Context, name string) (*lab.Person, error) {
		return humans.Enter(ctx, name, lab.Options{})
	}
	var err error
	if w.stage, err = w.account(t.Context(), "stage"); err != nil {
		t.Fatal(err)
	}
	return w
}

// account makes an account with a plain client, which knows nothing of encryption.
func (w *matrixStage) account(ctx context.Context, user string) (*mautrix.Client, error) {
	if _, err := w.server.Register(ctx, user, user+"-password"); err != nil {
		return nil, err
	}
	c, err := mautrix.NewClient(w.server.URL, "", "")
	if err != nil {
		return nil, err
	}
	_, err = c.Login(ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user},
		Password: user + "-password", StoreCredentials: true,
	})
	return c, err
}

// matrixSide is a conversation's bot there.
type matrixSide struct {
	*matrixStage
	p    *player
	user id.UserID
}

// side is for theatre.hold.
func (w *matrixStage) side(p *player) side { return &matrixSide{matrixStage: w, p: p} }

func (s *matrixSide) name() string                 { return matrix.Name }
func (s *matrixSide) threads() bool                { return true }
func (s *matrixSide) me() string                   { return s.user.String() }
func (s *matrixSide) address(person string) string { return address(person).String() }

func address(name string) id.UserID {
	return id.NewUserID(strings.TrimPrefix(name, "@"), lab.ServerName)
}

func (s *matrixSide) login(ctx context.Context, account string) error {
	c, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	s.user = c.UserID
	if err := c.SetDisplayName(ctx, "Starling"); err != nil {
		return err
	}
	if _, err := c.Logout(ctx); err != nil {
		return err
	}
	_, err = matrix.Login(ctx, matrix.LoginOptions{
		StateDir: s.p.dir, Homeserver: s.server.URL, User: s.me(), Password: func() (string, error) { return account + "-password", nil },
	})
	return err
}

func (s *matrixSide) adapter() (adapter, error) {
	return matrix.New(matrix.Config{StateDir: s.p.dir, Invite: []string{"*"}, Log: zerolog.Nop()})
}

func (s *matrixSide) ready(context.Context) error { return nil } // what comes before waits at the server

// create makes a room. Whoever made it has left.
func (s *matrixSide) create(ctx context.Context, r rig.Room) (string, error) {
	powers := map[id.UserID]int{s.stage.UserID: 100}
	for _, m := range r.Members {
		if m.Moderator {
			powers[address(m.Name)] = 50
		}
	}
	invite := 0
	request := &mautrix.ReqCreateRoom{
		Name: r.Name, Preset: "public_chat", PowerLevelOverride: &event.PowerLevelsEventContent{Users: powers, InvitePtr: &invite},
	}
	if r.Encrypted {
		request.InitialState = []*event.Event{{Type: event.StateEncryption, Content: event.Content{Parsed: &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}}}}
	}
	made, err := s.stage.CreateRoom(ctx, request)
	if err != nil {
		return "", err
	}
	for _, m := range r.Members {
		if err := s.do(ctx, m.Name, "join", map[string]any{"room": made.RoomID}); err != nil {
			return "", err
		}
	}
	if len(r.Members) > 0 {
		_, err = s.stage.LeaveRoom(ctx, made.RoomID)
	}
	return made.RoomID.String(), err
}

// do lets somebody's client do something that has no answer.
func (s *matrixSide) do(ctx context.Context, person, verb string, args map[string]any) error {
	who, err := s.crowd.person(person)
	if err != nil {
		return err
	}
	return who.Do(ctx, verb, args, nil)
}

func (s *matrixSide) join(ctx context.Context, at *place, person string) error {
	return s.do(ctx, person, "join", map[string]any{"room": at.id})
}

func (s *matrixSide) leave(ctx context.Context, at *place, person string) error {
	return s.do(ctx, person, "leave", map[string]any{"room": at.id})
}

func (s *matrixSide) invite(ctx context.Context, at *place, by string) error {
	return s.do(ctx, by, "invite", map[string]any{"room": at.id, "user": s.user})
}

func (s *matrixSide) acquaint(ctx context.Context, at *place) error {
	for _, person := range at.people {
		for _, other := range append([]string{s.me()}, at.people...) {
			if other != s.me() {
				other = s.address(other)
			}
			if err := s.do(ctx, person, "waitMember", map[string]any{"room": at.id, "user": other, "membership": "join"}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *matrixSide) remove(ctx context.Context, at *place) error {
	return s.asStage(ctx, at, func() error {
		_, err := s.stage.KickUser(ctx, id.RoomID(at.id), &mautrix.ReqKickUser{UserID: s.user})
		return err
	})
}

// asStage lets whoever made a room come back for a moment, to do what nobody in it may.
func (s *matrixSide) asStage(ctx context.Context, at *place, do func() error) error {
	if _, err := s.stage.JoinRoomByID(ctx, id.RoomID(at.id)); err != nil {
		return err
	}
	err := do()
	_, left := s.stage.LeaveRoom(ctx, id.RoomID(at.id))
	return errors.Join(err, left)
}

func (s *matrixSide) promote(ctx context.Context, at *place, person string, moderator bool) error {
	from := s.p.ears.hears()
	if err := s.asStage(ctx, at, func() error {
		var levels event.PowerLevelsEventContent
		if err := s.stage.StateEvent(ctx, id.RoomID(at.id), event.StatePowerLevels, "", &levels); err != nil {
			return err
		}
		level := 0
		if moderator {
			level = 50
		}
		levels.SetUserLevel(address(person), level)
		_, err := s.stage.SendStateEvent(ctx, id.RoomID(at.id), event.StatePowerLevels, "", &levels)
		return err
	}); err != nil {
		return err
	}
	return s.p.ears.until(ctx, "the stage is empty", from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindMember && in.Room == at.id && in.Person == s.stage.UserID.String() && !in.Member.Joined
	})
}

func (s *matrixSide) direct(ctx context.Context, person string) (*place, error) {
	who, err := s.crowd.person(person)
	if err != nil {
		return nil, err
	}
	from := s.p.ears.hears()
	chat, err := who.Open(ctx, lab.Room{Direct: s.me()})
	if err != nil {
		return nil, err
	}
	if err := s.p.ears.until(ctx, "it is in a direct chat", from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindRoom && in.Room == chat && in.RoomChange.Joined
	}); err != nil {
		return nil, err
	}
	at := &place{id: chat, people: []string{person}}
	return at, s.acquaint(ctx, at)
}

func (s *matrixSide) post(ctx context.Context, at *place, person string, m posting) (event string, err error) {
	who, err := s.crowd.person(person)
	if err != nil {
		return "", err
	}
	kind, content := "m.room.message", lab.Text(m.text)
	if len(m.mentions) > 0 {
		content = lab.WithMention(content, m.mentions...)
	}
	if m.thread != "" {
		content = lab.WithThread(content, m.thread)
	}
	switch m.verb {
	case "deletes":
		return event, who.Do(ctx, "redact", map[string]any{"room": at.id, "id": m.target}, &event)
	case "unreacts":
		return s.unreact(ctx, at, who, m)
	case "reacts":
		return who.Post(ctx, at.id, "m.reaction", lab.Reacting(m.target, m.text), false)
	case "edits":
		return who.Post(ctx, at.id, kind, lab.Replacing(content, m.target), false)
	case "replies":
		content = lab.WithReply(content, m.target)
	}
	return who.Post(ctx, at.id, kind, content, m.clear)
}

// unreact takes an emoji off what the bot said.
func (s *matrixSide) unreact(ctx context.Context, at *place, who *lab.Person, m posting) (event string, err error) {
	var seen lab.Message
	if err := who.Do(ctx, "wait", map[string]any{"want": lab.Want{Room: at.id, ID: m.target, Reaction: m.text, By: who.ID}}, &seen); err != nil {
		return "", err
	}
	i := slices.IndexFunc(seen.Reactions, func(r lab.Reaction) bool { return r.Key == m.text && r.Person == who.ID })
	return event, who.Do(ctx, "redact", map[string]any{"room": at.id, "id": seen.Reactions[i].ID}, &event)
}

func (s *matrixSide) see(ctx context.Context, at *place, d sending) (glimpse, error) {
	who, err := s.crowd.person(at.people[0])
	if err != nil {
		return glimpse{}, err
	}
	want, gone := lab.Want{Room: at.id, ID: d.id, Type: "m.room.message"}, true
	switch d.Kind {
	case bot.OutLeave:
		return glimpse{}, who.Do(ctx, "waitMember", map[string]any{"room": at.id, "user": s.user, "membership": "leave"}, nil)
	case bot.OutDelete:
		want.ID, want.Type, want.Redacted = d.Target, "", &gone
	case bot.OutReaction:
		want.Type = "m.reaction"
	}
	var m lab.Message
	if err := who.Do(ctx, "wait", map[string]any{"want": want}, &m); err != nil {
		return glimpse{}, err
	}
	seen := glimpse{text: m.Original, rings: m.MsgType == "m.text", thread: m.Thread}
	switch {
	case d.Kind == bot.OutReaction:
		seen.text = m.Key
	case d.Kind == bot.OutEdit:
		seen.text = strings.TrimPrefix(m.Original, "* ")
	case d.Kind == bot.OutDelete:
		seen = glimpse{}
	case !m.ReplyFallback:
		seen.replyTo = m.ReplyTo
	}
	return seen, nil
}
