package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/event/cmdschema"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// The commands are described to people's clients as state of the rooms that let the bot do so (MSC4391, in its unstable form):
// a client that knows it completes a command in the language in which it is typed. It is decoration: one small event at a time,
// only while nothing else is said, and where it is refused the bot goes on without.
const (
	// quietFor is how long the bot must have said nothing.
	quietFor = 10 * time.Second
	// describeAgain is how long a room, or after a rate limit every room, is left alone once it was refused.
	describeAgain = time.Hour
)

// Describe implements bot.Describer.
func (a *Adapter) Describe(commands []bot.Description) {
	a.commands = nil
	for _, c := range commands {
		a.commands = append(a.commands, &cmdschema.EventContent{
			Command: c.Name, Aliases: c.Words, Description: event.MakeExtensibleText(c.Help),
			Parameters: []*cmdschema.Parameter{{
				Key: bot.ArgLine, Schema: cmdschema.PrimitiveTypeString.Schema(), Optional: true, Description: event.MakeExtensibleText(c.Line),
			}},
			TailParam: bot.ArgLine,
		})
	}
	data, err := json.Marshal(a.commands)
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(data)
	a.commandsSum = hex.EncodeToString(sum[:])
	for _, c := range a.commands {
		a.commandsSum += " " + c.Command
	}
}

// description is one to be published: of a command, or nothing in the place of one that no longer exists.
type description struct {
	key     string
	content any
}

// descriptions lists what a room is to be told that has been told of the commands in was, a commandsSum.
func (a *Adapter) descriptions(was string) (all []description) {
	now := map[string]bool{}
	for _, c := range a.commands {
		now[c.Command] = true
		all = append(all, description{c.StateKey(a.me), c})
	}
	for i, name := range strings.Fields(was) {
		if i > 0 && !now[name] {
			gone := &cmdschema.EventContent{Command: name}
			all = append(all, description{gone.StateKey(a.me), struct{}{}})
		}
	}
	return all
}

// describing is how far descriptions have come. Only keepHouse uses it.
type describing struct {
	room   id.RoomID
	next   []description           // what is still to be told in room
	not    map[id.RoomID]time.Time // refused there, until then
	paused time.Time
}

// describe publishes one description where one is missing.
func (a *Adapter) describe(ctx context.Context, d *describing) {
	now := a.cfg.Now()
	var sent time.Time
	a.noted.note(func(r *bot.Report) { sent = r.Sent })
	if len(a.commands) == 0 || now.Before(d.paused) || now.Sub(sent) < quietFor {
		return
	}
	if d.room == "" {
		rooms, err := a.store.undescribed(ctx, a.commandsSum)
		if err != nil {
			a.log.Warn().Err(clean(err)).Msg("Rooms without descriptions of commands could not be read")
			return
		}
		for _, r := range rooms {
			if now.Before(d.not[r.ID]) {
				continue
			}
			if may, err := a.mayDescribe(ctx, r.ID); err == nil && may {
				d.room, d.next = r.ID, a.descriptions(r.Described)
				break
			}
		}
		if d.room == "" {
			return
		}
	}
	one := d.next[0]
	callCtx, cancel := context.WithTimeout(ctx, sendFor)
	err := a.speak(callCtx, func(cli *mautrix.Client) error {
		_, err := cli.SendStateEvent(callCtx, d.room, event.StateMSC4391BotCommand, one.key, one.content)
		return err
	})
	cancel()
	switch {
	case err == nil && len(d.next) > 1:
		d.next = d.next[1:]
		return
	case err == nil:
		if err := a.store.putDescribed(ctx, d.room, a.commandsSum); err != nil {
			a.log.Warn().Err(clean(err)).Msg("That a room has descriptions of commands could not be stored")
		}
	case httpStatus(err) == http.StatusTooManyRequests:
		d.paused = now.Add(max(describeAgain, retryAfter(err)))
	default:
		a.log.Debug().Err(clean(err)).Str("room", a.cfg.Hash(d.room.String())).Msg("Commands are not described there")
	}
	if err != nil {
		if len(d.not) > 10000 {
			clear(d.not)
		}
		d.not[d.room] = now.Add(describeAgain)
	}
	d.room = ""
}

// mayDescribe tells whether the bot has the power for it.
func (a *Adapter) mayDescribe(ctx context.Context, rid id.RoomID) (bool, error) {
	levels, err := a.store.state.GetPowerLevels(ctx, rid)
	if err != nil || levels == nil {
		return false, err
	}
	return levels.GetUserLevel(a.me) >= levels.GetEventLevel(event.StateMSC4391BotCommand), nil
}

type undescribedRoom struct {
	ID        id.RoomID
	Described string // the commandsSum of what it has instead
}

// undescribed lists the rooms that have other descriptions than those, or none.
func (s *store) undescribed(ctx context.Context, sum string) ([]undescribedRoom, error) {
	rows, err := s.own.Query(ctx, `SELECT room_id, described FROM matrix_room WHERE membership = $1 AND described <> $2 ORDER BY room_id`, joined, sum)
	return dbutil.NewRowIterWithError(rows, func(row dbutil.Scannable) (r undescribedRoom, err error) {
		err = row.Scan(&r.ID, &r.Described)
		return
	}, err).AsList()
}

func (s *store) putDescribed(ctx context.Context, rid id.RoomID, sum string) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_room SET described = $2 WHERE room_id = $1`, rid, sum)
	return err
}
