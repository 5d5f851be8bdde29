package bot

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Kind says what an Incoming is.
type Kind string

const (
	KindText       Kind = "text"       // a message with Text, perhaps with Files
	KindEdit       Kind = "edit"       // Text replaces the message Target
	KindDeletion   Kind = "deletion"   // Target was deleted (redacted)
	KindReactionOn Kind = "reaction"   // Text is the emoji, put on Target
	KindReactOff   Kind = "unreaction" // Text is the emoji, taken off Target; Text may be empty: all of that person's
	KindMember     Kind = "member"     // Member says who joined, left or changed role
	KindRoom       Kind = "room"       // Room change: joined, left, encrypted, renamed, upgraded
	KindEcho       Kind = "echo"       // what the bot itself sent came back: Target is its Outgoing.ID. Where a network tells it, a crash repeats nothing that has arrived
	KindNotice     Kind = "notice"     // Notice: what the people of Room should know about the network, or operators where Room is empty
	KindJobResult  Kind = "job"        // made by the engine itself
)

// Trust says what the network knows about the device that a message came from.
type Trust int

const (
	TrustUnknown  Trust = iota // the network does not tell (clear text, console)
	TrustUnsigned              // a device that its owner did not sign
	TrustSigned                // cross-signed by its owner, or the network's own guarantee (Signal)
)

// Incoming is one thing that an adapter received. All ids are the network's own.
type Incoming struct {
	Adapter  string // name of the adapter it came from; set by the engine
	Room     string // room or group
	Thread   string // id of the thread's root, "" outside threads
	Person   string // who said or did it
	Name     string // the display name of Person, as the network knows it; may be hostile
	Kind     Kind
	ID       string // network id of this very message: the second time it comes is a no-op. "" = never deduplicated (member and room changes are idempotent by nature)
	Target   string // what is edited, deleted or reacted to
	ReplyTo  string // what a text replies to
	Sent     time.Time
	Received time.Time

	Encrypted bool // it arrived encrypted
	Trust     Trust
	Direct    bool // a direct chat with the bot
	Mentioned bool // the bot was mentioned by the network's own means (m.mentions, Signal mention)

	Text string
	// Command and Args are a structured command (MSC4391); Text then holds its fallback.
	Command string
	Args    map[string]string
	// Mentions lists people (network addresses) mentioned by the network's own means, in order.
	Mentions []string
	Files    []File

	Member     *MemberChange
	RoomChange *RoomChange
	Notice     *Notice
	Job        *JobResult
}

// File is an attachment: what it is, never its content.
type File struct {
	Name string
	Type string // media type, e.g. "image/png"
	Size int64  // octets
	URL  string // how the adapter finds it again
}

// MemberChange is what became of one person in one room.
type MemberChange struct {
	Joined    bool // in the room now
	Moderator bool // Matrix: power level >= 50; Signal: group admin
}

// RoomChange tells about the bot's own place in a room. The latest is the truth: it may be sent again.
type RoomChange struct {
	Joined    bool   // the bot is in the room now; false: it left, was removed, or the room is gone
	Inviter   string // who invited it, when that is known and it has just joined
	Fresh     bool   // it has just joined on an invitation: greet. False when an adapter only refreshes what is known
	Name      string // the room's name; may be hostile
	Encrypted bool   // once true, stays so for us
	Direct    bool
	Replaces  string // this room takes the place of that one (room upgrade); settings follow, also where the bot was here before
	// Timer is how long messages stay in the room before the network's clients delete them; 0 = for ever.
	Timer time.Duration
	// Members is everyone in the room, when the adapter knows it whole: others are removed.
	Members map[string]MemberInfo
}

// MemberInfo is one row of RoomChange.Members.
type MemberInfo struct {
	Name      string
	Moderator bool
}

// Notice is what an adapter wants people to know: who cannot be reached, what cannot be read, why nothing leaves, each with
// its remedy. It never quotes what somebody said and names no address. Incoming.ReplyTo, when set, is the message that it is about.
type Notice struct {
	Message any    // one of the adapter's own registered messages
	Key     string // said once for a key in a room, until Again has passed
	Again   time.Duration
	// Ask, when set, is done once a moderator of the room has said yes to it.
	Ask *Ask
	// Operators says it in the operators' rooms (`/status here`) as well.
	Operators bool
}

// Dated is an adapter whose ids of messages tell when those were sent, and whether by the bot itself. Where the answer to a call was
// lost, what people answer to the message that they saw then finds it all the same.
type Dated interface {
	SentAt(id string) (at time.Time, own bool)
}

// Inbox is where an adapter hands over what it received. Deliver returns when everything that matters in it is stored:
// only then may the adapter acknowledge to its network. An error means that nothing may be acknowledged; try again later.
type Inbox interface {
	Deliver(ctx context.Context, in ...Incoming) error
	// Rooms lists the network's rooms that the engine believes the bot to be in.
	Rooms(ctx context.Context, adapter string) ([]string, error)
	// InviterAllowance counts an accepted invitation and says whether it is within the day's limit for that inviter.
	InviterAllowance(ctx context.Context, adapter, inviter string, perDay int) (bool, error)
	// Unstored tells of what was received and cannot be handed over yet, because what the adapter itself keeps cannot be written: a
	// room that asked for something hears that it waits.
	Unstored(in ...Incoming)
}

// OutKind says what an Outgoing is.
type OutKind string

const (
	OutMessage  OutKind = "message"
	OutEdit     OutKind = "edit"     // Text replaces the own message Target
	OutReaction OutKind = "reaction" // Text is the emoji, put on Target
	OutDelete   OutKind = "delete"   // the own message Target is deleted
	OutFile     OutKind = "file"
	OutLeave    OutKind = "leave" // the bot leaves the room
)

// Outgoing is one network call. It is asked for again after a crash or an error, with the same ID.
type Outgoing struct {
	ID   string // idempotency key: the same for every try
	Room string
	Kind OutKind

	// Text is in the Markdown subset of package markup, in the language Lang.
	Text string
	Lang string
	// Rings is whether phones should ring: alerts. Else it is a notice.
	Rings bool
	// Thread is the thread's root, ReplyTo the message that is answered, ReplyPerson its author.
	Thread, ReplyTo, ReplyPerson string
	// Target is the own message that is edited or deleted, or what the reaction is put on.
	Target string

	// Encrypted says that the room is encrypted for us: never send clear text into it.
	Encrypted bool
	// Again says that an earlier try may have reached the network: the bot was stopped in it, or its answer was lost.
	Again bool
	// Repeated says that an earlier try's outcome is unknown and the network has no idempotency key:
	// Text already says in the room's words that it may be a repetition.
	Repeated bool

	File *FileOut
}

// FileOut is a file to send.
type FileOut struct {
	Name, Type, Description string
	Data                    []byte
}

// Abilities says what a network can do. The engine shapes what it sends accordingly.
type Abilities struct {
	Threads    bool
	Edits      bool
	EditWindow time.Duration // 0 = for ever
	MaxEdits   int           // 0 = without limit
	EditsLast  bool          // an edit names the version before it, not the first
	Reactions  bool
	Deletes    bool
	Files      bool
	Idempotent bool          // the same Outgoing.ID twice shows once
	InFlight   int           // how many calls may be under way at once; 0 = 64
	Shows      time.Duration // how long after a call people may still wait for what it brings
}

// Adapter is one network. Its package imports bot, never a command.
type Adapter interface {
	// Name is a short constant, part of what is stored: "matrix", "signal", "console".
	Name() string
	Abilities() Abilities
	// Run receives until ctx ends. A returned error other than ctx's stops the bot: what can be waited out is waited out inside.
	Run(ctx context.Context, in Inbox) error
	// Send makes one call and returns the network's id of what was sent ("" for reactions where there is none).
	// Errors are *SendError where the adapter knows more than "try again".
	Send(ctx context.Context, out Outgoing) (id string, err error)
}

// DirectOpener is an optional ability: open (or find) the direct chat with a person.
type DirectOpener interface {
	OpenDirect(ctx context.Context, person string) (room string, err error)
}

// JobRunner is an optional ability: do work that needs the outside. It is called outside any transaction, with a timeout,
// and again after an error or a crash.
type JobRunner interface {
	// Jobs lists the kinds it runs.
	Jobs() []string
	RunJob(ctx context.Context, kind string, payload json.RawMessage) (result json.RawMessage, err error)
}

// Describer is an optional ability: tell people's clients which commands there are, so that they offer them. It is called once,
// before Run.
type Describer interface {
	Describe(commands []Description)
}

// Description is one command as a client shows it.
type Description struct {
	Name  string   // its English name
	Words []string // all its other words, in every language
	Help  string   // what it is for, and
	Line  string   // what can be typed after it, in the bot's language
}

// ArgLine names the argument of a described command that is all that was typed after it, sub-commands too.
const ArgLine = "line"

// Reporter is an optional ability: say how the connection to the network is. It must not block.
type Reporter interface {
	Report() Report
}

// Report is the state of a network as operators see it: numbers and times, and one sentence that holds no name and no id.
type Report struct {
	Connected bool      `json:"connected"`         // the last exchange with the network succeeded
	Received  time.Time `json:"received,omitzero"` // when something last came in, zero = not yet
	Sent      time.Time `json:"sent,omitzero"`     // when a call to the network last succeeded
	Held      int       `json:"held"`              // messages that cannot be read yet
	Trouble   string    `json:"trouble,omitempty"` // what is wrong and what to do about it, in English; "" = nothing
}

// JobResult is what came of a job; the engine turns it into an Incoming, once.
type JobResult struct {
	ID     string
	Kind   string
	Result json.RawMessage
	Failed bool // given up: the outside refused for good or the job's time is over
}

// SendError is a failed call about which the adapter knows more than "try again".
type SendError struct {
	Err       error
	Permanent bool          // it can never succeed: set aside, tell the origin
	Gone      bool          // the bot is no longer in that room (implies Permanent)
	Account   bool          // the whole account must wait (429), not only this room; nobody has seen it, unless Perhaps
	Unseen    bool          // nobody has seen it: said again, it is said for the first time
	Perhaps   bool          // some people may have it all the same
	After     time.Duration // wait at least this long; 0 = the engine's backoff
}

func (e *SendError) Error() string { return e.Err.Error() }
func (e *SendError) Unwrap() error { return e.Err }

// ErrStopped is returned by Deliver when the engine has stopped.
var ErrStopped = errors.New("the engine has stopped")
