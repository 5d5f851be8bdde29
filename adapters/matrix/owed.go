package matrix

import (
	"context"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A device is given a room key by means of a one-time key that its homeserver keeps for it. Where that has none left, or does not
// answer, the library tells the device so (m.no_olm), and it could read nothing until the room key is renewed. It is owed the key,
// as that was before the first message, and the bot tries again for an hour. After a restart it does not: the key was in memory only.
const (
	owedFor = time.Hour
	// owedPause is how long it waits at the most between two tries.
	owedPause = 5 * time.Minute
	// maxOwed is how many devices are remembered, each as often as there are keys that it is owed.
	maxOwed = 10000
)

// debt is a room key and the devices that were to get it.
type debt struct {
	key         *event.Content
	devices     []*id.Device
	since, next time.Time
}

// owe notes who did not get a room key that has just been shared. The library calls it before the first message.
func (a *Adapter) owe(ctx context.Context, key *crypto.OutboundGroupSession) {
	devices, err := a.store.missed(ctx, key)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Who did not get a room key could not be read")
		return
	}
	if len(devices) == 0 {
		return
	}
	content, now := key.ShareContent(), a.cfg.Now()
	a.owedMu.Lock()
	defer a.owedMu.Unlock()
	a.owed = append(a.owed, &debt{key: &content, devices: devices, since: now, next: now})
	n := 0
	for _, d := range a.owed {
		n += len(d.devices)
	}
	for n > maxOwed {
		n -= len(a.owed[0].devices)
		a.owed = a.owed[1:]
	}
}

// takeOwed gives what is to be tried now, and forgets what has had its time.
func (a *Adapter) takeOwed(now time.Time) (due []*debt) {
	a.owedMu.Lock()
	defer a.owedMu.Unlock()
	var later []*debt
	for _, d := range a.owed {
		switch {
		case now.Sub(d.since) > owedFor:
		case now.Before(d.next):
			later = append(later, d)
		default:
			due = append(due, d)
		}
	}
	a.owed = later
	return due
}

// payOwed tries to hand over the room keys that are owed.
func (a *Adapter) payOwed(ctx context.Context) {
	now := a.cfg.Now()
	vain := map[id.IdentityKey]bool{} // there was no one-time key for them just now
	for _, d := range a.takeOwed(now) {
		callCtx, cancel := context.WithTimeout(ctx, sendFor)
		err := a.pay(callCtx, d, vain)
		cancel()
		if err != nil && ctx.Err() == nil {
			a.log.Warn().Err(clean(err)).Msg("A room key could not be handed over late; trying again")
		}
		if len(d.devices) == 0 {
			continue
		}
		d.next = now.Add(min(max(now.Sub(d.since), askAfter), owedPause))
		a.owedMu.Lock()
		a.owed = append(a.owed, d)
		a.owedMu.Unlock()
	}
}

// pay gives a room key to those of its devices that can get it now, and leaves the others owed.
func (a *Adapter) pay(ctx context.Context, d *debt, vain map[id.IdentityKey]bool) error {
	var there []*id.Device
	req := &mautrix.ReqSendToDevice{Messages: map[id.UserID]map[id.DeviceID]*event.Content{}}
	tried := 0
	for _, device := range d.devices {
		now, err := a.store.crypto.GetDevice(ctx, device.UserID, device.DeviceID)
		if err != nil {
			return err
		}
		if now == nil || now.Deleted || now.IdentityKey != device.IdentityKey {
			continue // it is gone
		}
		there = append(there, device)
		if vain[device.IdentityKey] {
			continue
		}
		if req.Messages[device.UserID] == nil {
			req.Messages[device.UserID] = map[id.DeviceID]*event.Content{}
		}
		req.Messages[device.UserID][device.DeviceID] = d.key
		tried++
	}
	d.devices = there
	if tried == 0 {
		return nil
	}
	sealed, err := a.sealFor(ctx, req)
	if err != nil {
		return err
	}
	var unpaid []*id.Device
	for _, device := range there {
		if sealed.Messages[device.UserID][device.DeviceID] == nil {
			vain[device.IdentityKey] = true
			unpaid = append(unpaid, device)
		}
	}
	if len(unpaid) == len(there) {
		return nil
	}
	if _, err := a.cli.SendToDevice(ctx, event.ToDeviceEncrypted, sealed); err != nil {
		return err
	}
	d.devices = unpaid
	return nil
}

// sealFor encrypts a room key for devices, claiming one-time keys where there is no Olm session yet. Who cannot get it is left out.
func (a *Adapter) sealFor(ctx context.Context, req *mautrix.ReqSendToDevice) (*mautrix.ReqSendToDevice, error) {
	if err := a.reload(ctx); err != nil {
		return nil, err
	}
	a.olm.RLock()
	defer a.olm.RUnlock()
	return a.mach.EncryptToDevices(ctx, event.ToDeviceRoomKey, req)
}

// missed lists the devices for which a room key was meant and that have not got it. The library marks all that it is meant for, and
// remembers of those that got it only in the key itself.
func (s *store) missed(ctx context.Context, key *crypto.OutboundGroupSession) (devices []*id.Device, err error) {
	rows, err := s.crypto.DB.Query(ctx, `
		SELECT d.user_id, d.device_id, d.identity_key FROM mx_user_profile p JOIN crypto_device d ON d.user_id = p.user_id
		WHERE p.room_id = $1 AND p.membership IN ('join', 'invite') AND EXISTS (
			SELECT 1 FROM crypto_megolm_outbound_session_shared s
			WHERE s.user_id = d.user_id AND s.identity_key = d.identity_key AND s.session_id = $2)`, key.RoomID, key.ID())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d id.Device
		if err := rows.Scan(&d.UserID, &d.DeviceID, &d.IdentityKey); err != nil {
			return nil, err
		}
		if key.Users[crypto.UserDevice{UserID: d.UserID, DeviceID: d.DeviceID}] != crypto.OGSAlreadyShared {
			devices = append(devices, &d)
		}
	}
	return devices, rows.Err()
}
