package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v6"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

const (
	pollFor       = 30 * time.Second
	timelineLimit = 100
	// blindAfter is how often in a row the homeserver fails to say what is new before it is asked without what was said.
	blindAfter = 2
)

// syncFilter asks only for what is read. Members come whole: keys must reach all of them. blindFilter leaves out what was said; none of
// it has that type (Dendrite knows no wildcards here).
var (
	syncFilter  = filterFor(timelineTypes)
	blindFilter = filterFor([]string{"org.starling.none"})
)

func filterFor(timeline []string) string {
	none := map[string]any{"not_types": []string{"*"}}
	filter, err := json.Marshal(map[string]any{
		"presence":     none,
		"account_data": map[string]any{"types": []string{"m.direct"}},
		"room": map[string]any{
			"account_data": none,
			"ephemeral":    none,
			"state":        map[string]any{"types": stateTypes},
			"timeline":     map[string]any{"limit": timelineLimit, "types": timeline},
		},
	})
	if err != nil {
		panic(err)
	}
	return string(filter)
}

var (
	stateTypes    = []string{"m.room.member", "m.room.power_levels", "m.room.create", "m.room.encryption", "m.room.history_visibility", "m.room.join_rules", "m.room.name", "m.room.tombstone"}
	timelineTypes = append([]string{"m.room.message", "m.room.encrypted", "m.reaction", "m.room.redaction", "m.sticker", fenceType.Type}, stateTypes...)
)

// events is a list in which a malformed event is passed over: one of them must not stop all that follow.
type events []*event.Event

func (e *events) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	for _, one := range raw {
		var evt event.Event
		if json.Unmarshal(one, &evt) == nil {
			*e = append(*e, &evt)
		}
	}
	return nil
}

type eventList struct {
	Events events `json:"events"`
}

type joinedRoom struct {
	State    eventList `json:"state"`
	Timeline struct {
		eventList
		Limited   bool   `json:"limited"`
		PrevBatch string `json:"prev_batch"`
	} `json:"timeline"`
}

// response is what is read of an answer to /sync.
type response struct {
	NextBatch      string              `json:"next_batch"`
	AccountData    eventList           `json:"account_data"`
	ToDevice       eventList           `json:"to_device"`
	DeviceLists    mautrix.DeviceLists `json:"device_lists"`
	DeviceOTKCount *mautrix.OTKCount   `json:"device_one_time_keys_count"`
	FallbackKeys   []id.KeyAlgorithm   `json:"device_unused_fallback_key_types"`
	Rooms          struct {
		// Each a joinedRoom, decoded when its turn comes: all at once are a lot, where the bot is in many.
		Join   map[id.RoomID]json.RawMessage `json:"join"`
		Invite map[id.RoomID]*struct {
			State eventList `json:"invite_state"`
		} `json:"invite"`
		Leave map[id.RoomID]*struct{} `json:"leave"`
	} `json:"rooms"`
	blind bool // without what was said: it is a gap in every room
}

// batch is what comes of one answer to /sync: what the engine is told and what is stored after it has taken it.
type batch struct {
	in        []bot.Incoming
	rooms     map[id.RoomID]*room
	held      []*event.Event
	released  []id.EventID
	own       map[id.EventID]bool
	echoes    map[string]id.EventID // of own, by Outgoing.ID
	fences    map[id.RoomID]string  // the last of each room, by name
	reactions map[id.EventID]reaction
	gaps      map[id.RoomID]gap // that are open
	errands   []func(ctx context.Context) error
}

func newBatch() *batch {
	return &batch{rooms: map[id.RoomID]*room{}, own: map[id.EventID]bool{}, echoes: map[string]id.EventID{}, fences: map[id.RoomID]string{},
		reactions: map[id.EventID]reaction{}, gaps: map[id.RoomID]gap{}}
}

// want notes what the bot has to do in a room once the batch is stored.
func (b *batch) want(a *Adapter, rid id.RoomID, what, via string) {
	b.errands = append(b.errands, func(ctx context.Context) error {
		return a.store.want(ctx, rid, what, via, a.cfg.Now())
	})
}

// room gives a room as this batch will leave it.
func (b *batch) room(ctx context.Context, s *store, rid id.RoomID) (*room, error) {
	if r, ok := b.rooms[rid]; ok {
		return r, nil
	}
	r, err := s.room(ctx, rid)
	if err == nil {
		b.rooms[rid] = r
	}
	return r, err
}

// Run implements bot.Adapter: it receives until ctx ends. The errors that it returns otherwise need an operator.
func (a *Adapter) Run(ctx context.Context, in bot.Inbox) error {
	ctx, cancel := context.WithCancel(quiet(ctx))
	defer cancel()
	a.mach.SetBackgroundCtx(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()

	if err := a.patiently(ctx, "The homeserver cannot be used yet", a.begin); err != nil {
		return err
	}
	if err := a.reconcile(ctx, in); err != nil {
		return err
	}
	work.Go(func() { a.runErrands(ctx) })
	work.Go(func() { a.runGaps(ctx, in) })
	work.Go(func() { a.keepHouse(ctx, in) })

	// What was held when the bot stopped is tried once, whatever keys come.
	retryHeld := true
	for {
		err := a.patiently(ctx, "The homeserver cannot be reached, or its answer cannot be handled", func(ctx context.Context) error {
			return a.syncOnce(ctx, in, &retryHeld)
		})
		if err != nil {
			return err
		}
	}
}

// begin makes sure that the account and this device are known to the homeserver as they are here.
func (a *Adapter) begin(ctx context.Context) error {
	if _, err := a.cli.Whoami(ctx); err != nil {
		return err
	}
	if err := a.checkService(ctx); err != nil {
		return err
	}
	if err := checkDevice(ctx, a.cli, a.mach); err != nil {
		return err
	}
	_, err := a.mach.GetOwnCrossSigningPublicKeys(ctx)
	return err
}

// patiently calls fn until it succeeds, with growing pauses. It gives up when ctx ends, when the engine has stopped, and where
// only an operator can help.
func (a *Adapter) patiently(ctx context.Context, trouble string, fn func(ctx context.Context) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second, time.Minute
	for failures := 0; ; failures++ {
		err := fn(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case loggedOut(err):
			return ErrLoggedOut
		case errors.Is(err, ErrDeviceLost), errors.Is(err, bot.ErrStopped):
			return err
		case damaged(err):
			return ErrUnreadable
		}
		a.reached(err)
		wait := max(pause.NextBackOff(), retryAfter(err))
		a.log.Warn().Err(clean(err)).Int("failures", failures+1).Dur("again_in", wait).Msg(trouble)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-a.fatal:
			return err
		case <-a.store.spoilt:
			return ErrUnreadable
		case <-time.After(wait):
		}
	}
}

// reconcile tells the engine about rooms that it and the adapter know differently: after the loss of either's database.
func (a *Adapter) reconcile(ctx context.Context, in bot.Inbox) error {
	return a.patiently(ctx, "The rooms cannot be compared", func(ctx context.Context) error {
		token, err := a.store.syncToken(ctx)
		if err != nil || token == "" {
			return err // the first sync tells
		}
		known, err := in.Rooms(ctx, Name)
		if err != nil {
			return err
		}
		here, err := a.store.joinedRooms(ctx)
		if err != nil {
			return err
		}
		var out []bot.Incoming
		for _, r := range here {
			if i := slices.Index(known, r.ID.String()); i >= 0 {
				known = slices.Delete(known, i, i+1)
				continue
			}
			change, err := a.roomChange(ctx, r, true)
			if err != nil {
				return err
			}
			out = append(out, *change)
		}
		for _, rid := range known {
			out = append(out, a.gone(id.RoomID(rid)))
		}
		if len(out) == 0 {
			return nil
		}
		if err := in.Deliver(ctx, out...); err != nil {
			return &apiError{"the engine could not store what was received", err}
		}
		return nil
	})
}

// syncOnce asks for what is new, hands it over, and only then moves on. After an error the same is asked for again: whatever was
// handed over already has ids by which the engine knows it.
func (a *Adapter) syncOnce(ctx context.Context, in bot.Inbox, retryHeld *bool) error {
	select {
	case err := <-a.fatal:
		return err
	case <-a.store.spoilt:
		return ErrUnreadable
	default:
	}
	since, err := a.store.syncToken(ctx)
	if err != nil {
		return err
	}
	resp, err := a.ask(ctx, since)
	if err != nil {
		return err
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	b, tried, err := a.read(ctx, in, resp, since, *retryHeld)
	if err != nil {
		if stuck(err) {
			in.Unstored(a.peek(ctx, b, resp)...)
		}
		return err
	}
	if err := a.handOver(ctx, in, b, resp.NextBatch); err != nil {
		a.putArrived(tried)
		return err
	}
	*retryHeld = false
	a.readyOnce.Do(func() { close(a.ready) })
	if len(b.errands) > 0 {
		nudge(a.wake)
	}
	if len(b.gaps) > 0 {
		nudge(a.gapOpened)
	}
	return nil
}

// handOver gives a batch to the engine and then stores what it leaves behind.
func (a *Adapter) handOver(ctx context.Context, in bot.Inbox, b *batch, next string) error {
	a.heard(b.echoes)
	if len(b.in) > 0 {
		if err := in.Deliver(ctx, b.in...); err != nil {
			return &apiError{"the engine could not store what was received", err}
		}
	}
	if err := a.commit(ctx, b, next); err != nil {
		return err
	}
	a.openFences(b.fences)
	a.received(ctx, b, a.cfg.Now())
	return nil
}

// ask gets what is new. One event that the homeserver took and cannot put into an answer (Dendrite: nested 9,993 levels deep) makes it
// fail for ever, for all rooms, whatever rooms the filter leaves out. Asked without what was said it goes on, and that is read room by
// room. Where it only was in trouble for a moment, this costs calls and loses nothing.
func (a *Adapter) ask(ctx context.Context, since string) (*response, error) {
	wait := pollFor
	select {
	case <-a.ready:
	default: // at once until the first sync after the start, so that the bot is soon current
		wait = 0
	}
	resp, err := a.poll(ctx, since, syncFilter, wait)
	if httpStatus(err) == http.StatusInternalServerError {
		if a.failures++; a.failures < blindAfter {
			return nil, err
		}
		if resp, err = a.poll(ctx, since, blindFilter, 0); err == nil {
			a.log.Warn().Msg("The homeserver fails to say what is new in all rooms together; it is read room by room")
			resp.blind = true
		}
	}
	if err == nil {
		a.failures = 0
	}
	return resp, err
}

func (a *Adapter) poll(ctx context.Context, since, filter string, wait time.Duration) (*response, error) {
	limit := pollFor + 30*time.Second
	if since == "" {
		limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	query := map[string]string{"timeout": strconv.FormatInt(wait.Milliseconds(), 10), "filter": filter, "set_presence": "offline"}
	if since != "" {
		query["since"] = since
	}
	var resp response
	err := a.fetch(ctx, a.cli.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "sync"}, query), &resp)
	if err == nil && resp.NextBatch == "" {
		err = errNotMatrix
	}
	return &resp, err
}

// fetch reads an answer in which people's events are: nothing that one of them holds may keep the others from being read.
func (a *Adapter) fetch(ctx context.Context, url string, into any) error {
	data, err := a.cli.MakeRequest(ctx, http.MethodGet, url, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(shallow(data), into); err != nil {
		return &apiError{errNotMatrix.msg, err}
	}
	return nil
}

// maxDepth is deeper than anything that is read in an answer.
const maxDepth = 500

// shallow leaves out, in place, what is nested deeper than that: decoders refuse the whole of what is nested too deep, and a homeserver
// would give it again for ever.
func shallow(data []byte) []byte {
	kept, depth, quoted := data[:0], 0, false
	for i := 0; i < len(data); i++ {
		c, left := data[i], depth > maxDepth
		switch {
		case quoted && c == '\\' && i+1 < len(data):
			if i++; !left {
				kept = append(kept, c)
			}
			c = data[i]
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth == maxDepth+1 {
				c = '0' // stands for all of it
			}
		case c == '}', c == ']':
			depth--
		}
		if !left {
			kept = append(kept, c)
		}
	}
	return kept
}

// read makes a batch of an answer. It also returns the room keys whose messages it tried.
func (a *Adapter) read(ctx context.Context, in bot.Inbox, resp *response, since string, retryHeld bool) (b *batch, tried []id.SessionID, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the answer made the bot stumble")
		}
		if err != nil {
			a.putArrived(tried)
		}
	}()
	b = newBatch()
	if err = a.devicesChanged(ctx, resp.DeviceLists.Changed); err != nil {
		return b, nil, err
	}
	if err = a.toDevice(ctx, resp.ToDevice.Events); err != nil {
		return b, nil, err
	}
	if err = a.fallbackKey(ctx, resp.FallbackKeys); err != nil {
		return b, nil, err
	}
	a.topUpKeys(ctx, resp.DeviceOTKCount)
	a.mach.MarkOlmHashSavePoint(ctx)
	tried = a.takeArrived()

	if err = a.markDirect(ctx, b, resp.AccountData.Events); err != nil {
		return b, tried, err
	}
	if since == "" {
		if err = a.firstSync(ctx, in, b, resp); err != nil {
			return b, tried, err
		}
	}
	for _, rid := range slices.Sorted(maps.Keys(resp.Rooms.Leave)) {
		if err = a.leftRoom(ctx, b, rid); err != nil {
			return b, tried, err
		}
	}
	if err = a.openHeld(ctx, b, tried, retryHeld); err != nil {
		return b, tried, err
	}
	if resp.blind {
		if err = a.openAll(ctx, resp); err != nil {
			return b, tried, err
		}
	}
	for _, rid := range slices.Sorted(maps.Keys(resp.Rooms.Join)) {
		var data *joinedRoom
		if err = json.Unmarshal(resp.Rooms.Join[rid], &data); err != nil {
			return b, tried, err
		}
		if data == nil {
			continue
		}
		if resp.blind {
			data.Timeline.Limited, data.Timeline.PrevBatch = true, resp.NextBatch
		}
		if err = a.readRoom(ctx, b, rid, data, since == ""); err != nil {
			return b, tried, err
		}
		delete(resp.Rooms.Join, rid)
	}
	for _, rid := range slices.Sorted(maps.Keys(resp.Rooms.Invite)) {
		if resp.Rooms.Invite[rid] == nil {
			continue
		}
		if err = a.invitation(ctx, in, b, rid, resp.Rooms.Invite[rid].State.Events); err != nil {
			return b, tried, err
		}
	}
	return b, tried, nil
}

// openAll puts every room that the bot is in into an answer.
func (a *Adapter) openAll(ctx context.Context, resp *response) error {
	rooms, err := a.store.joinedRooms(ctx)
	if err != nil {
		return err
	}
	if resp.Rooms.Join == nil {
		resp.Rooms.Join = map[id.RoomID]json.RawMessage{}
	}
	for _, r := range rooms {
		_, here := resp.Rooms.Join[r.ID]
		if _, gone := resp.Rooms.Leave[r.ID]; !here && !gone {
			resp.Rooms.Join[r.ID] = json.RawMessage(`{}`)
		}
	}
	return nil
}

// peek lists what people say in an answer of which nothing can be stored, without storing anything: what was read of it, and what is
// new in the other rooms, where the keys are there already.
func (a *Adapter) peek(ctx context.Context, b *batch, resp *response) []bot.Incoming {
	ctx = context.WithValue(ctx, peekKey{}, true)
	for _, rid := range slices.Sorted(maps.Keys(resp.Rooms.Join)) {
		var data joinedRoom
		r, err := a.store.room(ctx, rid)
		if err != nil || r.Membership != joined || json.Unmarshal(resp.Rooms.Join[rid], &data) != nil {
			continue
		}
		for _, evt := range data.Timeline.Events {
			if evt.RoomID = rid; evt.StateKey != nil || evt.Sender == a.me {
				continue
			}
			a.guard("message", func() { _ = a.readMessage(ctx, b, r, evt) }) // what does not open is not known to ask for anything
		}
	}
	return b.in
}

// commit stores what the batch leaves behind and the new position, in one transaction.
func (a *Adapter) commit(ctx context.Context, b *batch, next string) error {
	now := a.cfg.Now()
	return a.store.txn(ctx, func(ctx context.Context) error {
		for _, rid := range slices.Sorted(maps.Keys(b.rooms)) {
			if r := b.rooms[rid]; r.Membership != "" || r.Marked {
				if err := a.store.putRoom(ctx, r); err != nil {
					return err
				}
			}
		}
		for _, evt := range b.held {
			if err := a.store.hold(ctx, evt, evt.Content.AsEncrypted().SessionID, now); err != nil {
				return err
			}
		}
		for _, eid := range b.released {
			if err := a.release(ctx, eid); err != nil {
				return err
			}
		}
		for eid := range b.own {
			if err := a.store.putOwn(ctx, eid, now); err != nil {
				return err
			}
		}
		for _, r := range b.reactions {
			if err := a.store.putReaction(ctx, r, now); err != nil {
				return err
			}
		}
		for _, g := range b.gaps {
			if err := a.store.putGap(ctx, g); err != nil {
				return err
			}
		}
		for _, todo := range b.errands {
			if err := todo(ctx); err != nil {
				return err
			}
		}
		_, err := a.store.own.Exec(ctx, `UPDATE matrix_session SET sync_token = $1, seen_at = $2 WHERE id = 1`, next, a.believed().UnixMilli())
		return err
	})
}

// firstSync tells the engine which rooms it believes in are gone. The others follow from the answer itself.
func (a *Adapter) firstSync(ctx context.Context, in bot.Inbox, b *batch, resp *response) error {
	known, err := in.Rooms(ctx, Name)
	if err != nil {
		return err
	}
	for _, rid := range known {
		if _, ok := resp.Rooms.Join[id.RoomID(rid)]; !ok {
			b.in = append(b.in, a.gone(id.RoomID(rid)))
		}
	}
	return nil
}

// openHeld tries ciphertext whose key has come, or all of it.
func (a *Adapter) openHeld(ctx context.Context, b *batch, sessions []id.SessionID, all bool) error {
	if all {
		sessions = []id.SessionID{""}
	}
	for _, session := range sessions {
		held, err := a.store.heldFor(ctx, session)
		if err != nil {
			return err
		}
		if len(held) == 0 {
			continue
		}
		if err := a.knowSenders(ctx, held); err != nil {
			return err
		}
		for _, evt := range held {
			r, err := b.room(ctx, a.store, evt.RoomID)
			if err != nil {
				return err
			}
			if r.Membership == joined {
				err := a.readMessage(ctx, b, r, evt)
				if errors.Is(err, errHeld) {
					continue
				} else if err != nil {
					return err
				}
			}
			b.released = append(b.released, evt.ID)
		}
	}
	return nil
}

// keepHouse asks for late keys, tells whom it cannot read, shares the bot's own before they are needed and with whom they missed, describes the commands, and removes what has had its time.
func (a *Adapter) keepHouse(ctx context.Context, in bot.Inbox) {
	ask := time.NewTicker(askAfter)
	defer ask.Stop()
	minutely := time.NewTicker(time.Minute)
	defer minutely.Stop()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	select {
	case <-a.ready:
	case <-ctx.Done():
		return
	}
	unshareable := map[id.RoomID]bool{}
	described := &describing{not: map[id.RoomID]time.Time{}}
	tidy := func() {
		if err := a.forget(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn().Err(clean(err)).Msg("Old keys could not be removed; trying again in an hour")
		}
	}
	a.notAhead(ctx)
	tidy()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask.C:
			a.askForKeys(ctx)
			a.tellSenders(ctx, in)
			a.payOwed(ctx)
			a.describe(ctx, described)
			a.shareAhead(ctx, unshareable)
		case <-minutely.C:
			a.notAhead(ctx)
			a.fetchOutdated(ctx)
		case <-hourly.C:
			tidy()
			clear(unshareable)
		}
	}
}
