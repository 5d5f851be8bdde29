package matrix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	goolm "maunium.net/go/mautrix/crypto/goolm/account"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

const (
	// holdFor is how long ciphertext without a key is kept.
	holdFor = 24 * time.Hour
	// shareTries is how often a room key is shared again because somebody came meanwhile.
	shareTries = 5
	// keyLife is how long a room key opens what was said with it.
	keyLife = 24 * time.Hour
)

func newMachine(ctx context.Context, cli *mautrix.Client, st *store) (*crypto.OlmMachine, error) {
	st.crypto.DeviceID = cli.DeviceID
	mach := crypto.NewOlmMachine(cli, nil, st.crypto, st.state)
	// Devices are fetched by us, outside transactions.
	mach.DisableDecryptKeyFetching = true
	// Old keys are ratcheted forward by us, after what they opened has been handed over.
	mach.DisableRatchetTracking = true
	// A message of a kind that the library does not know is still ciphertext that was opened.
	mach.IgnorePostDecryptionParseErrors = true
	if err := mach.Load(ctx); err != nil {
		return nil, fmt.Errorf("the Matrix keys in %s cannot be read: %w", databaseFile, err)
	}
	return mach, nil
}

// checkDevice makes sure that the homeserver has the keys of this device and no others. Where it has none yet, they are uploaded.
func checkDevice(ctx context.Context, cli *mautrix.Client, mach *crypto.OlmMachine) error {
	resp, err := cli.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{cli.UserID: {cli.DeviceID}}})
	if err != nil {
		return err
	}
	shared := mach.GetAccount().Shared
	if resp.DeviceKeys == nil || shared && resp.DeviceKeys[cli.UserID] == nil {
		return errNotMatrix // and no word about this device
	}
	device, ok := resp.DeviceKeys[cli.UserID][cli.DeviceID]
	switch {
	case (!ok || len(device.Keys) == 0) && !shared:
		return mach.ShareKeys(ctx, -1)
	case !ok || len(device.Keys) == 0, !shared, device.Keys.GetEd25519(cli.DeviceID) != mach.OwnIdentity().SigningKey:
		return ErrDeviceLost
	}
	return nil
}

// keyArrived notes that what waits for a room key can be tried again. The library calls it.
func (a *Adapter) keyArrived(_ context.Context, _ id.RoomID, session id.SessionID, _ uint32) {
	a.arrivedMu.Lock()
	defer a.arrivedMu.Unlock()
	a.arrived[session] = true
}

func (a *Adapter) takeArrived() []id.SessionID {
	a.arrivedMu.Lock()
	defer a.arrivedMu.Unlock()
	var out []id.SessionID
	for s := range a.arrived {
		out = append(out, s)
	}
	clear(a.arrived)
	slices.Sort(out)
	return out
}

func (a *Adapter) putArrived(sessions []id.SessionID) {
	a.arrivedMu.Lock()
	defer a.arrivedMu.Unlock()
	for _, s := range sessions {
		a.arrived[s] = true
	}
}

// toDevice handles messages between devices: above all, room keys. An Olm message can be opened once, so what it brings is
// stored in one transaction with the step of the ratchet that opened it; after a crash it opens again.
func (a *Adapter) toDevice(ctx context.Context, events []*event.Event) error {
	for _, evt := range events {
		evt.Type.Class = event.ToDeviceEventType
		if err := evt.Content.ParseRaw(evt.Type); err != nil {
			continue
		}
		if _, encrypted := evt.Content.Parsed.(*event.EncryptedEventContent); !encrypted {
			a.guard("to-device message", func() { a.mach.HandleToDeviceEvent(ctx, evt) })
			continue
		}
		if err := a.olmMessage(ctx, evt); err != nil {
			return err
		}
	}
	return nil
}

func (a *Adapter) olmMessage(ctx context.Context, evt *event.Event) error {
	if err := a.reload(ctx); err != nil {
		return err
	}
	a.olm.RLock()
	defer a.olm.RUnlock()
	// Not store.txn: the first statement must come under the library's Olm lock; cryptoStore sees to it.
	err := a.store.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		ctx, failed := watched(ctx)
		a.guard("to-device message", func() { a.mach.HandleToDeviceEvent(ctx, evt) })
		return cmp.Or(ctx.Err(), failed.get()) // the library does not say that it could not store a key
	})
	a.stale.Store(err != nil)
	return err
}

// reload forgets Olm sessions in memory that are ahead of those on disk.
func (a *Adapter) reload(ctx context.Context) error {
	if !a.stale.Load() {
		return nil
	}
	a.olm.Lock()
	defer a.olm.Unlock()
	old := a.store.crypto.Account
	a.store.crypto.Account = nil
	if _, err := a.store.crypto.GetAccount(ctx); err != nil {
		a.store.crypto.Account = old
		return err
	}
	a.store.crypto.InitFields()
	a.stale.Store(false)
	return a.mach.Load(ctx)
}

// guard keeps a message that the library stumbles over from stopping all others.
func (a *Adapter) guard(what string, fn func()) {
	defer func() {
		if r := recover(); r != nil {
			a.log.Error().Str("what", what).Msg("Something that came in made the Matrix library panic; it was passed over")
		}
	}()
	fn()
}

// devicesChanged keeps the device lists current. What cannot be fetched now stays marked, and is tried again beside the sync.
func (a *Adapter) devicesChanged(ctx context.Context, changed []id.UserID) error {
	if len(changed) == 0 {
		return nil
	}
	if err := a.store.crypto.MarkTrackedUsersOutdated(ctx, changed); err != nil {
		return err
	}
	tracked, err := a.store.crypto.FilterTrackedUsers(ctx, changed)
	if err != nil || len(tracked) == 0 {
		return err
	}
	a.fetchDevices(ctx, tracked)
	return nil
}

func (a *Adapter) fetchDevices(ctx context.Context, people []id.UserID) {
	// The homeserver may be waiting for another that does not answer.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	before := map[id.UserID][]id.DeviceID{}
	for _, p := range people {
		before[p] = a.devices(ctx, p)
	}
	if _, err := a.mach.FetchKeys(ctx, people, true); err != nil {
		a.log.Warn().Err(clean(err)).Int("people", len(people)).Msg("Devices could not be fetched; trying again soon")
		return
	}
	for _, p := range people {
		if !slices.Equal(before[p], a.devices(ctx, p)) {
			// The library has thrown away the room keys that are shared; one that is just being shared with the devices as they were
			// would come back. Whoever shares looks at the count when that is done.
			a.devicesSeen.Add(1)
			a.mach.OnDevicesChanged(ctx, p)
		}
	}
}

// devices lists somebody's devices, as far as they are known here.
func (a *Adapter) devices(ctx context.Context, person id.UserID) []id.DeviceID {
	known, err := a.store.crypto.GetDevices(ctx, person)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(known))
}

// fetchOutdated tries again to fetch device lists that are known to have changed.
func (a *Adapter) fetchOutdated(ctx context.Context) {
	outdated, err := a.store.crypto.GetOutdatedTrackedUsers(ctx)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Outdated device lists could not be read")
	} else if len(outdated) > 0 {
		a.fetchDevices(ctx, outdated)
	}
}

// knowSenders fetches the devices behind encrypted events, so that what they say about trust is known when they are opened. A
// device that is not found is not looked for again for some minutes.
func (a *Adapter) knowSenders(ctx context.Context, events []*event.Event) error {
	var people []id.UserID
	now := a.cfg.Now()
	for _, evt := range events {
		if evt.Type.Type != event.EventEncrypted.Type || evt.Sender == a.me {
			continue
		}
		// Deprecated in the specification, and the only hint before decryption.
		key, _ := evt.Content.Raw["sender_key"].(string)
		known, err := a.store.crypto.GetDevices(ctx, evt.Sender)
		if err != nil {
			return err
		}
		ok := known != nil && key == ""
		for _, d := range known {
			ok = ok || d.IdentityKey.String() == key
		}
		who := evt.Sender.String() + " " + clip(key, 64)
		if ok || now.Sub(a.sought[who]) < 10*time.Minute {
			continue
		}
		if len(a.sought) > 10000 {
			clear(a.sought)
		}
		a.sought[who] = now
		people = append(people, evt.Sender)
	}
	if len(people) > 0 {
		a.fetchDevices(ctx, people)
	}
	return nil
}

// errHeld says that an event cannot be opened yet.
var errHeld = errors.New("the room key has not come yet")

// decrypt opens an event. It returns errHeld where a key may still come, nil without an error where nothing ever will,
// and an error of the database as it is.
func (a *Adapter) decrypt(ctx context.Context, evt *event.Event) (plain *event.Event, err error) {
	a.guard("encrypted message", func() {
		if perr := evt.Content.ParseRaw(event.EventEncrypted); perr != nil && !errors.Is(perr, event.ErrContentAlreadyParsed) {
			return
		}
		plain, err = a.mach.DecryptMegolmEvent(ctx, evt)
	})
	switch {
	case err == nil:
		return plain, nil
	case storeFailed(err):
		return nil, err
	case errors.Is(err, crypto.ErrNoSessionFound), errors.Is(err, crypto.ErrGroupSessionWithheld), errors.Is(err, olm.ErrUnknownMessageIndex):
		return nil, errHeld
	}
	a.log.Warn().Str("room", a.cfg.Hash(evt.RoomID.String())).Msg("An encrypted message could not be opened")
	return nil, nil
}

func trust(evt *event.Event) bot.Trust {
	switch {
	case !evt.Mautrix.WasEncrypted:
		return bot.TrustUnknown
	case evt.Mautrix.TrustState >= id.TrustStateCrossSignedTOFU:
		return bot.TrustSigned
	default:
		return bot.TrustUnsigned
	}
}

// reactorTrust is what a reaction counts for in an encrypted room: its device is not known, but who has none that is signed, as a
// bridge's ghosts have not, could not have sent it from one.
func (a *Adapter) reactorTrust(ctx context.Context, person id.UserID) (bot.Trust, error) {
	devices, err := a.store.crypto.GetDevices(ctx, person)
	if err != nil {
		return bot.TrustUnknown, err
	}
	for _, device := range devices {
		state, err := a.mach.ResolveTrustContext(ctx, device)
		if err != nil || state >= id.TrustStateCrossSignedTOFU {
			return bot.TrustUnknown, err
		}
	}
	return bot.TrustUnsigned, nil
}

// encrypt makes ciphertext for everyone in the room, sharing a new room key first where one is due.
func (a *Adapter) encrypt(ctx context.Context, rid id.RoomID, evtType event.Type, content any) (*event.EncryptedEventContent, error) {
	enc, err := a.mach.EncryptMegolmEvent(ctx, rid, evtType, content)
	if err == nil || !crypto.IsShareError(err) {
		return enc, err
	}
	if err := a.shareKey(ctx, rid); err != nil {
		return nil, err
	}
	return a.mach.EncryptMegolmEvent(ctx, rid, evtType, content)
}

// shareKey shares a room key with everyone in a room. Who comes meanwhile, or gets a device, makes the sync throw the key away;
// but sharing takes a while, and the library stores its key at the end of it, without them. Then it is done once more.
func (a *Adapter) shareKey(ctx context.Context, rid id.RoomID) error {
	for range shareTries {
		devices := a.devicesSeen.Load()
		people, err := a.members(ctx, rid)
		if err != nil {
			return err
		}
		if err := a.knowDevices(ctx, people); err != nil {
			return err
		}
		if err := a.share(ctx, rid, people); err != nil {
			return err
		}
		now, err := a.members(ctx, rid)
		if err != nil {
			return err
		}
		if slices.Equal(now, people) && a.devicesSeen.Load() == devices {
			return nil
		}
		if err := a.store.crypto.RemoveOutboundGroupSession(ctx, rid); err != nil {
			return err
		}
	}
	return errors.New("people come and go too fast to share a room key with them")
}

func (a *Adapter) share(ctx context.Context, rid id.RoomID, people []id.UserID) error {
	if err := a.reload(ctx); err != nil {
		return err
	}
	a.olm.RLock()
	defer a.olm.RUnlock()
	return a.mach.ShareGroupSession(ctx, rid, people)
}

// members lists who gets a room's keys.
func (a *Adapter) members(ctx context.Context, rid id.RoomID) ([]id.UserID, error) {
	people, err := a.store.state.GetRoomJoinedOrInvitedMembers(ctx, rid)
	slices.Sort(people)
	return people, err
}

// knowDevices fetches the devices of people before a key is shared with them, where they are known to have changed, or where
// nobody has seen one yet: who was invited before she had ever logged in. Of the others the sync tells.
func (a *Adapter) knowDevices(ctx context.Context, people []id.UserID) error {
	outdated, err := a.store.crypto.GetOutdatedTrackedUsers(ctx)
	if err != nil {
		return err
	}
	var fetch []id.UserID
	for _, p := range people {
		known, err := a.store.crypto.GetDevices(ctx, p)
		if err != nil {
			return err
		}
		if known != nil && len(known) == 0 || slices.Contains(outdated, p) {
			fetch = append(fetch, p)
		}
	}
	if len(fetch) > 0 {
		a.fetchDevices(ctx, fetch)
	}
	return nil
}

// topUpKeys uploads one-time keys where few are left. Some homeservers leave the count out when there are none, others when it has
// not changed: then they are asked, now and then.
func (a *Adapter) topUpKeys(ctx context.Context, count *mautrix.OTKCount) {
	if count != nil {
		a.mach.HandleOTKCounts(ctx, count)
		return
	}
	if now := a.cfg.Now(); now.Sub(a.keysCounted) > 5*time.Minute {
		a.keysCounted = now
		if err := a.mach.ShareKeys(ctx, -1); err != nil {
			a.log.Warn().Err(clean(err)).Msg("One-time keys could not be topped up; trying again in some minutes")
		}
	}
}

// fallbackKey keeps a key at the homeserver with which others can begin a conversation when all one-time keys are used up, as
// happens while the bot is away. unused lists the kinds of such keys that nobody has taken yet; nil is a homeserver without them.
func (a *Adapter) fallbackKey(ctx context.Context, unused []id.KeyAlgorithm) error {
	acc, ok := a.mach.GetAccount().Internal.(*goolm.Account)
	if !ok || unused == nil || slices.Contains(unused, id.KeyAlgorithmSignedCurve25519) {
		return nil
	}
	// Not more often: Dendrite takes such keys, forgets them, and says each time that there is none.
	now := a.cfg.Now()
	if now.Sub(a.fallbackSent) < time.Hour {
		return nil
	}
	if len(acc.FallbackKeyUnpublished()) == 0 {
		if err := acc.GenFallbackKey(); err != nil {
			return err
		}
		if err := a.store.crypto.PutAccount(ctx, a.mach.GetAccount()); err != nil {
			return err
		}
	}
	keys := map[id.KeyID]any{}
	for kid, key := range acc.FallbackKey() {
		signed := map[string]any{"key": key, "fallback": true}
		sig, err := a.mach.GetAccount().SignJSON(signed)
		if err != nil {
			return err
		}
		signed["signatures"] = signatures.NewSingleSignature(a.me, id.KeyAlgorithmEd25519, a.cli.DeviceID.String(), sig)
		keys[id.NewKeyID(id.KeyAlgorithmSignedCurve25519, kid)] = signed
	}
	if _, err := a.cli.MakeRequest(ctx, http.MethodPost, a.cli.BuildClientURL("v3", "keys", "upload"), map[string]any{"fallback_keys": keys}, nil); err != nil {
		a.log.Warn().Err(clean(err)).Msg("The fallback key could not be renewed; trying again with the next sync")
		return nil
	}
	a.fallbackSent = now
	acc.CurrentFallbackKey.Published = true
	return a.store.crypto.PutAccount(ctx, a.mach.GetAccount())
}

// shareAhead shares room keys where the next message would have to wait for that, so that an alert reaches fifty rooms
// at once: the library shares one key after the other.
// Rooms where it fails are added to except.
func (a *Adapter) shareAhead(ctx context.Context, except map[id.RoomID]bool) {
	rooms, err := a.store.unsharedRooms(ctx)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Rooms without a room key could not be read")
		return
	}
	for _, rid := range rooms {
		if except[rid] {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, sendFor)
		err := a.shareKey(callCtx, rid)
		cancel()
		if err != nil {
			except[rid] = true // the next message there tries again
			return
		}
	}
}

// forget removes what has had its time: held ciphertext, reactions, and the power of old room keys. A key itself stays while its
// owner may go on using it (people's clients use one for up to a week and do not send it again), but it is moved
// forward past all that was said more than keyLife ago, so that it cannot open that any more.
func (a *Adapter) forget(ctx context.Context) error {
	now, sure := a.clock.look(a.cfg.Now())
	if !sure {
		return nil
	}
	for query, before := range map[string]time.Time{
		`DELETE FROM matrix_held WHERE held_at < $1`:     now.Add(-holdFor),
		`DELETE FROM matrix_own WHERE seen_at < $1`:      now.AddDate(0, 0, -30),
		`DELETE FROM matrix_reaction WHERE seen_at < $1`: now.AddDate(0, 0, -30),
	} {
		if _, err := a.store.own.Exec(ctx, query, before.UnixMilli()); err != nil {
			return err
		}
	}
	return a.ageKeys(ctx, now.Add(-keyLife))
}

func (a *Adapter) ageKeys(ctx context.Context, before time.Time) error {
	db := a.store.crypto.DB
	// The bot's own keys are kept only for devices that missed them and ask.
	if _, err := db.Exec(ctx, `DELETE FROM crypto_megolm_inbound_session WHERE sender_key = $1 AND unixepoch(received_at) < $2`,
		a.mach.OwnIdentity().IdentityKey, before.Unix()); err != nil {
		return err
	}
	if _, err := a.store.crypto.RedactExpiredGroupSessions(ctx); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, `DELETE FROM crypto_megolm_inbound_session WHERE session IS NULL AND unixepoch(received_at) < $1`,
		before.AddDate(0, 0, -30).Unix()); err != nil {
		return err
	}
	// Whom the bot gave a key matters while it uses that or can give it once more. A key that is just being shared is in the second list only.
	if _, err := db.Exec(ctx, `DELETE FROM crypto_megolm_outbound_session_shared WHERE session_id NOT IN (
		SELECT session_id FROM crypto_megolm_outbound_session UNION SELECT session_id FROM crypto_megolm_inbound_session)`); err != nil {
		return err
	}
	type used struct {
		Session id.SessionID
		Room    id.RoomID
		Next    uint32
	}
	rows, err := db.Query(ctx, `
		SELECT i.session_id, s.room_id, MAX(i."index") + 1 FROM crypto_message_index i
		JOIN crypto_megolm_inbound_session s ON s.session_id = i.session_id AND s.session IS NOT NULL
		WHERE i.timestamp < $1 GROUP BY i.session_id, s.room_id`, before.UnixMilli())
	if err != nil {
		return err
	}
	var old []used
	for rows.Next() {
		var u used
		if err := rows.Scan(&u.Session, &u.Room, &u.Next); err != nil {
			rows.Close()
			return err
		}
		old = append(old, u)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, u := range old {
		if err := a.ageKey(ctx, u.Room, u.Session, u.Next); err != nil {
			return err
		}
	}
	_, err = db.Exec(ctx, `DELETE FROM crypto_message_index WHERE timestamp < $1`, before.UnixMilli())
	return err
}

func (a *Adapter) ageKey(ctx context.Context, rid id.RoomID, sid id.SessionID, next uint32) error {
	return a.store.txn(ctx, func(ctx context.Context) error {
		sess, err := a.store.crypto.GetGroupSession(ctx, rid, sid)
		if errors.Is(err, crypto.ErrGroupSessionWithheld) || sess == nil {
			return nil
		} else if err != nil {
			return err
		}
		if sess.Internal.FirstKnownIndex() >= next {
			return nil
		}
		if err := sess.RatchetTo(next); err != nil {
			return nil // a key that cannot be moved is damaged; it will expire
		}
		return a.store.crypto.PutGroupSession(ctx, sess)
	})
}
