package signal

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"starling/bot"
	"starling/locales"
)

// sendAnswer is what signal-cli answers to a send. A partial failure is an answer, too: every result must be read.
type sendAnswer struct {
	Timestamp int64        `json:"timestamp"`
	Results   []sendResult `json:"results"`
}

type sendResult struct {
	Recipient who    `json:"recipientAddress"`
	Type      string `json:"type"`
	Token     string `json:"token"`             // the challenge of a RATE_LIMIT_FAILURE that wants proof
	After     int64  `json:"retryAfterSeconds"` // of a RATE_LIMIT_FAILURE
}

const (
	day        = 24 * time.Hour
	storeAgain = 5 * time.Second
	// limitedFor is how long Signal is left alone at first where it does not say, proofFor where it wants proof: till then somebody may
	// have given it. longestGuess bounds what that grows to, longestOff what Signal says.
	limitedFor   = time.Minute
	proofFor     = 10 * time.Minute
	longestGuess = time.Hour
	longestOff   = 24 * time.Hour
	// lookAgain is how soon it shows that proof was given.
	lookAgain = 5 * time.Second
	// linkedAgain is how soon it shows that the account is linked again: Signal is not asked, signal-cli knows.
	linkedAgain = 5 * time.Second
)

// challengeFile keeps the challenge that a captcha answers, for `starling signal captcha`.
const challengeFile = "signal-challenge"

var (
	errLimited    = errors.New("the account may not send for a while")
	errUnreadable = errors.New("a long text could not be read")
	errUnlinked   = errors.New("the Signal account is not linked to this signal-cli")
)

// read looks at what became of a message for each person that it went to.
func (a *Adapter) read(ctx context.Context, out bot.Outgoing, results []sendResult) error {
	count := map[string]int{}
	asked := 0 // about whom the group's moderators are asked: they read that she gets nothing
	var changed []string
	var limit sendResult
	for _, r := range results {
		count[r.Type]++
		switch r.Type {
		case "IDENTITY_FAILURE":
			changed = append(changed, r.Recipient.UUID)
		case "RATE_LIMIT_FAILURE", "PROOF_REQUIRED_FAILURE":
			if r.Token != "" || r.After > limit.After {
				limit = r
			}
		}
	}
	for _, person := range changed {
		if a.identityChanged(ctx, person, out.Room) {
			asked++
		}
	}
	var limited error
	if count["RATE_LIMIT_FAILURE"]+count["PROOF_REQUIRED_FAILURE"] > 0 {
		limited = a.limited(ctx, out.Room, limit.Token, time.Duration(limit.After)*time.Second, false)
	} else if count["SUCCESS"] > 0 {
		a.mu.Lock()
		a.guessed = 0
		a.mu.Unlock()
	}
	if n := count["UNREGISTERED_FAILURE"]; n > 0 {
		if n == len(results) && IsPerson(out.Room) {
			return &bot.SendError{Err: errors.New("that person is no longer on Signal"), Permanent: true, Gone: true}
		}
		a.tellSoon(ctx, out.Room, &bot.Notice{Message: NotOnSignal{Count: n}, Key: "not on signal", Again: 7 * day})
	}
	if count["SUCCESS"] > 0 || len(results) == 0 {
		// For those who have it, it is not said again; the others learn of it from them.
		missed := len(results) - count["SUCCESS"] - count["UNREGISTERED_FAILURE"] - asked
		if missed > 0 && out.Kind != bot.OutReaction {
			a.tellSoon(ctx, out.Room, &bot.Notice{Message: Missed{Count: missed}, Key: "missed", Again: day})
		}
		return nil
	}
	switch {
	case limited != nil:
		return limited
	case count["IDENTITY_FAILURE"] == len(results):
		e := &bot.SendError{Err: errors.New("a safety number has changed"), Unseen: true}
		if a.cfg.Trust == TrustAsk {
			e.After = time.Minute
		}
		return e
	case len(results) == count["UNREGISTERED_FAILURE"]:
		return nil // a group of people who are gone
	}
	return &bot.SendError{Err: errors.New("the message was not taken")}
}

// failed says what an error of signal-cli's means for what is waiting to be sent.
func (a *Adapter) failed(ctx context.Context, out bot.Outgoing, err error) error {
	var e *rpcError
	if !errors.As(err, &e) {
		if errors.Is(err, errUnasked) {
			return &bot.SendError{Err: err, Account: true, After: 2 * time.Second}
		}
		// People may have it: not refused, but lost, so that the repeat says that it is one.
		return &bot.SendError{Err: errDown, After: 2 * time.Second}
	}
	var data struct {
		Response sendAnswer `json:"response"`
	}
	if json.Unmarshal(e.Data, &data) == nil && len(data.Response.Results) > 0 {
		return a.read(ctx, out, data.Response.Results)
	}
	says := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(e.Message, w) {
				return true
			}
		}
		return false
	}
	switch {
	case e.Code == -5, says("RateLimitException", "ProofRequiredException", "StatusCode: 429", "[429]", "StatusCode: 428", "[428]"):
		token := ""
		if says("ProofRequired", "428") {
			token = "?"
		}
		// In a group it may have reached some before one was refused: signal-cli says only that.
		return a.limited(ctx, out.Room, token, 0, e.Code == -32603 && !IsPerson(out.Room))
	case says("DeprecatedVersionException", "StatusCode: 499", "[499]"):
		a.troubled(ctx, Expired{}, "this signal-cli is too old for Signal: install the newest one and restart it")
		return &bot.SendError{Err: errors.New("signal-cli is too old"), Account: true, After: 10 * time.Minute}
	case says("AuthorizationFailedException", "StatusCode: 401", "[401]", "StatusCode: 403", "NotRegisteredException"):
		a.unlinked(ctx)
		after := time.Minute
		if linked, err := a.hasAccount(ctx); err == nil && !linked {
			after = linkedAgain
		}
		// It may have been unlinked while the message went from one person of a group to the next.
		return &bot.SendError{Err: errUnlinked, Account: true, After: after, Perhaps: !IsPerson(out.Room)}
	case says("not a group member", "NotAGroupMember", "Group not found", "GroupNotFound", "User is not a group member"):
		return &bot.SendError{Err: errors.New("the bot is not in that group"), Permanent: true, Gone: true}
	case e.Code == -32602:
		if linked, err := a.hasAccount(ctx); err == nil && !linked {
			a.unlinked(ctx)
			return &bot.SendError{Err: errUnlinked, Account: true, After: linkedAgain}
		}
		return &bot.SendError{Err: e, Permanent: true}
	case e.Code == -4, says("UntrustedIdentity"):
		if IsPerson(out.Room) {
			a.identityChanged(ctx, out.Room, out.Room)
		}
		return &bot.SendError{Err: e, After: time.Minute}
	case e.Code == -1 && !says("Failed to send message", "IOException", "timeout", "Timeout"):
		return &bot.SendError{Err: e, Permanent: true}
	}
	return &bot.SendError{Err: e}
}

// ignoreRefusal lets pass that there is nothing to leave.
func ignoreRefusal(err error) error {
	var e *rpcError
	if errors.As(err, &e) && (e.Code == -1 || e.Code == -32602) {
		return nil
	}
	return err
}

// limited stops the account, and tells the group that is affected. A token is the challenge that a captcha answers; "?" one that
// signal-cli keeps to itself.
func (a *Adapter) limited(ctx context.Context, room, token string, after time.Duration, perhaps bool) error {
	if after <= 0 {
		after = a.guess(token != "")
	}
	after = min(after, longestOff)
	until := time.Now().Add(after)
	a.mu.Lock()
	if until.After(a.refused) {
		a.refused = until
	}
	a.report.Trouble = "Signal takes no messages from this account for a while"
	if token != "" {
		a.report.Trouble = "Signal wants a captcha before this account may write again: see `starling signal captcha --help`"
	}
	a.mu.Unlock()
	if token == "?" {
		var told time.Duration
		if token, told = a.challenge(ctx); told > 0 { // what was guessed held up everything else meanwhile
			after = min(told, longestOff)
			until = time.Now().Add(after)
			a.mu.Lock()
			a.refused = until
			a.mu.Unlock()
		}
	}
	if token != "" {
		if token != "?" {
			if err := a.keepChallenge(token); err != nil {
				a.log.Error().Err(err).Msg("The challenge of a captcha cannot be kept")
			}
		}
		a.tellSoon(ctx, room, &bot.Notice{Message: Captcha{}, Key: "captcha", Again: time.Hour, Operators: true})
	} else {
		a.tellSoon(ctx, room, &bot.Notice{Message: Limited{Until: locales.Clock{At: until}}, Key: "limited", Again: time.Hour, Operators: true})
	}
	return &bot.SendError{Err: errLimited, Account: true, After: a.lookAfter(after), Perhaps: perhaps}
}

// guess is how long Signal is left alone where it does not say: twice as long each time that it refuses again after that.
func (a *Adapter) guess(proof bool) time.Duration {
	first := limitedFor
	if proof {
		first = proofFor
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !time.Now().Before(a.refused) { // else it is one of several calls that were under way
		a.guessed = min(2*a.guessed, longestGuess)
	}
	a.guessed = max(a.guessed, first)
	return a.guessed
}

// keepChallenge keeps the challenge for `starling signal captcha`. A file that is not there means that proof was given: so it is there
// before anybody looks.
func (a *Adapter) keepChallenge(token string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := os.WriteFile(filepath.Join(a.cfg.StateDir, challengeFile), []byte(token+"\n"), 0o600)
	a.proof = err == nil
	return err
}

// noteToSelf is what the account's own phone reads when Signal wants proof, should that get through.
const noteToSelf = "Starling: Signal wants proof that I am not sending spam. On my machine, `starling signal status` says what to do."

// challenge asks Signal for the challenge that a captcha answers: of a message to a group signal-cli does not tell it, of one to the
// account itself it does, and for how long it takes nothing.
func (a *Adapter) challenge(ctx context.Context) (token string, after time.Duration) {
	var e *rpcError
	if err := a.call(ctx, "send", map[string]any{"noteToSelf": true, "message": noteToSelf}, nil); !errors.As(err, &e) {
		return "?", 0
	}
	var data struct {
		Response sendAnswer `json:"response"`
	}
	if json.Unmarshal(e.Data, &data) == nil {
		for _, r := range data.Response.Results {
			if r.Token != "" {
				return r.Token, time.Duration(r.After) * time.Second
			}
		}
	}
	return "?", 0
}

// refusedUntil is until when Signal takes nothing: it ends at once when the proof that it wanted was given.
func (a *Adapter) refusedUntil() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proof {
		if _, err := os.Stat(filepath.Join(a.cfg.StateDir, challengeFile)); errors.Is(err, os.ErrNotExist) {
			a.proof, a.refused, a.guessed = false, time.Time{}, 0
		}
	}
	return a.refused
}

// lookAfter is when a message is tried again that may leave after so long, or as soon as proof was given.
func (a *Adapter) lookAfter(after time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proof {
		return min(after, lookAgain)
	}
	return after
}

// jobTrust takes a new safety number; its payload is a trusted.
const jobTrust = "signal trust"

type trusted struct {
	Person string `json:"person"`
}

// identityChanged does with a new safety number what the configuration says, and tells the rooms concerned. It is true where the
// moderators of the first of them are asked.
func (a *Adapter) identityChanged(ctx context.Context, person string, rooms ...string) bool {
	if !IsPerson(person) {
		return false
	}
	if a.cfg.Trust == TrustAsk {
		groups, err := a.judges(ctx, person, rooms)
		if err != nil {
			a.log.Warn().Err(err).Str("person", a.hash(person)).Msg("It is not known who could be asked about a new safety number")
			return false
		}
		if len(groups) > 0 {
			a.askWhether(ctx, person, groups)
			return len(rooms) > 0 && slices.Contains(groups, rooms[0])
		}
		// Nobody can be asked, and little hangs on it: who shares no room with the bot is a stranger to the engine.
	}
	if err := a.trust(ctx, person); err != nil {
		a.log.Warn().Err(err).Str("person", a.hash(person)).Msg("A new safety number could not be taken")
		return false
	}
	for _, room := range rooms {
		n := &bot.Notice{Message: NewNumber{Name: a.nameIn(room, person)}, Key: "identity " + person, Again: day}
		if room == person {
			n.Message = YourNewNumber{}
		}
		a.tellSoon(ctx, room, n)
	}
	return false
}

// judges lists the groups whose moderators are asked about somebody's new safety number: those in which she has written, for anybody can
// make a group and take her account into it; else those among these rooms, else the ones that signal-cli knows now to be shared with her.
// It is not for her new phone to say.
func (a *Adapter) judges(ctx context.Context, person string, rooms []string) ([]string, error) {
	a.mu.Lock()
	known := a.sharedOf(a.groups, person)
	wrote := slices.DeleteFunc(known, func(id string) bool { return !a.wrote[[2]string{id, person}] })
	a.mu.Unlock()
	if len(wrote) > 0 {
		return wrote, nil
	}
	if groups := slices.DeleteFunc(slices.Clone(rooms), IsPerson); len(groups) > 0 {
		return groups, nil
	}
	all, err := a.list(ctx)
	groups := map[string]*group{}
	for _, g := range all {
		if g.IsMember {
			groups[g.ID] = g
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sharedOf(groups, person), err
}

func (a *Adapter) askWhether(ctx context.Context, person string, groups []string) {
	payload, err := json.Marshal(trusted{person})
	if err != nil {
		return
	}
	for _, room := range groups {
		a.tellSoon(ctx, room, &bot.Notice{Message: MayTrust{Name: a.nameIn(room, person)}, Key: "identity " + person, Again: day,
			Ask: &bot.Ask{Kind: jobTrust, Payload: payload}})
	}
}

// trust takes somebody's new safety number, and sees to what signal-cli keeps of hers. It would tell that when something else comes or
// when it is started: to attach anew would lose it.
func (a *Adapter) trust(ctx context.Context, person string) error {
	if err := a.call(ctx, "trust", map[string]any{"recipient": person, "trustAllKnownKeys": true}, nil); err != nil {
		return err
	}
	a.mu.Lock()
	rooms, held := a.held[person]
	own := a.daemon != nil && time.Since(a.brought[person]) > time.Hour // who changes it again and again stops nobody
	delete(a.held, person)
	if held && own {
		a.brought[person] = time.Now()
	}
	a.mu.Unlock()
	switch {
	case held && own:
		a.daemon.wear()
	case held:
		for _, room := range rooms {
			a.tellSoon(ctx, room, &bot.Notice{Message: WriteAgain{Name: a.nameIn(room, person)}, Key: "again " + person, Again: time.Hour})
		}
	}
	return nil
}

// showsUp waits until signal-cli knows somebody's new key, which it fetches after it has told of it: to trust her before is to trust the
// old one.
func (a *Adapter) showsUp(ctx context.Context, person string) {
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	for {
		var known []struct {
			Trust string `json:"trustLevel"`
		}
		err := a.call(ctx, "listIdentities", map[string]any{"number": person}, &known)
		for _, k := range known {
			if k.Trust == "UNTRUSTED" {
				return
			}
		}
		if err != nil || !wait(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// hold notes that signal-cli keeps something of somebody's, in one of these rooms.
func (a *Adapter) hold(person string, rooms []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held[person] = rooms
}

// RunJob implements bot.JobRunner.
func (a *Adapter) RunJob(ctx context.Context, kind string, payload json.RawMessage) (json.RawMessage, error) {
	var t trusted
	if kind != jobTrust || json.Unmarshal(payload, &t) != nil || !IsPerson(t.Person) {
		return nil, &bot.SendError{Err: errors.New("that is no job for Signal"), Permanent: true}
	}
	if err := a.trust(ctx, t.Person); err != nil {
		return nil, err
	}
	return json.RawMessage(`{}`), nil
}

// unreadable tells what is to be told of a message that signal-cli could not read.
func (a *Adapter) unreadable(ctx context.Context, e *envelope, kind string) error {
	a.log.Info().Str("person", a.hash(e.SourceUUID)).Str("why", clip(letters(kind), 60)).Msg("signal-cli could not read a message")
	rooms := a.shared(e.SourceUUID)
	if e.Data != nil && e.Data.Group != nil {
		rooms = slices.DeleteFunc(rooms, func(r string) bool { return r != e.Data.Group.ID })
	}
	if strings.Contains(kind, "UntrustedIdentity") {
		// signal-cli keeps the message until the number is trusted.
		if a.knows(e.SourceUUID) {
			rooms = append(rooms, e.SourceUUID)
		}
		a.hold(e.SourceUUID, rooms)
		go func() {
			a.showsUp(ctx, e.SourceUUID)
			a.identityChanged(ctx, e.SourceUUID, rooms...)
		}()
		return nil
	}
	if strings.Contains(kind, "Duplicate") {
		return nil // it was read before
	}
	if !strings.Contains(kind, "Protocol") && !strings.Contains(kind, "Decrypt") && !strings.Contains(kind, "NoSession") && !strings.Contains(kind, "Invalid") {
		return nil // a kind of message that signal-cli does not know
	}
	if a.knows(e.SourceUUID) {
		return a.tell(ctx, e.SourceUUID, "", &bot.Notice{Message: Unreadable{}, Key: "unreadable", Again: day})
	}
	for _, room := range rooms[:min(len(rooms), 1)] {
		return a.tell(ctx, room, "", &bot.Notice{Message: UnreadableHere{Name: a.nameIn(room, e.SourceUUID)}, Key: "unreadable " + e.SourceUUID, Again: day})
	}
	return nil
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
}

// shared lists the groups that a person shares with the bot, a few at most, those in which she has written first.
func (a *Adapter) shared(person string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sharedOf(a.groups, person)
}

func (a *Adapter) sharedOf(groups map[string]*group, person string) []string {
	var wrote, others []string
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		if g := groups[id]; !g.has(g.Members, person) {
			continue
		}
		if a.wrote[[2]string{id, person}] {
			wrote = append(wrote, id)
		} else {
			others = append(others, id)
		}
	}
	rooms := append(wrote, others...)
	return rooms[:min(len(rooms), 5)]
}

// nameIn is what a person is called where others read it: only where she has shown herself.
func (a *Adapter) nameIn(room, person string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if room != person && !a.wrote[[2]string{room, person}] {
		return ""
	}
	return a.names[person]
}

func (a *Adapter) name(person string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.names[person]
}

// tell has the engine say something in a room; an empty room is the operators'.
func (a *Adapter) tell(ctx context.Context, room, about string, n *bot.Notice) error {
	box := a.box()
	if box == nil {
		return nil
	}
	return box.Deliver(ctx, bot.Incoming{Room: room, ReplyTo: about, Kind: bot.KindNotice, Notice: n})
}

// tellSoon is tell for who is in the middle of a call.
func (a *Adapter) tellSoon(ctx context.Context, room string, n *bot.Notice) {
	ctx = context.WithoutCancel(ctx)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, sendFor)
		defer cancel()
		if err := a.tell(ctx, room, "", n); err != nil && !errors.Is(err, bot.ErrStopped) {
			a.log.Warn().Err(err).Msg("people could not be told of a trouble with Signal")
		}
	}()
}

// troubled notes what is wrong with the account, and tells operators.
func (a *Adapter) troubled(ctx context.Context, msg any, trouble string) {
	a.mu.Lock()
	a.report.Connected, a.report.Trouble = false, trouble
	a.mu.Unlock()
	a.tellSoon(ctx, "", &bot.Notice{Message: msg, Key: trouble, Again: 6 * time.Hour, Operators: true})
}

func (a *Adapter) unlinked(ctx context.Context) {
	a.troubled(ctx, Unlinked{}, "the account is no longer linked to this signal-cli: `starling signal link`, then take the code with the phone")
}
