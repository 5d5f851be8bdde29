package matrix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/id"
)

// LoginOptions says which account the bot gets.
type LoginOptions struct {
	// StateDir is where crypto.db and its key are made.
	StateDir string
	// Homeserver is a URL, or a server name that is looked up (.well-known). Empty takes the server of User.
	Homeserver string
	// User is an address (@bot:example.org) or, with a Homeserver, its local part.
	User string
	// Password is asked when it is needed: for the login without Token, and when the homeserver wants it before it takes
	// the account's signing keys.
	Password func() (string, error)
	// Token is an access token to use instead of a password. Its device must not have been used with encryption.
	Token string
	// RecoveryKeyFile is where the recovery key is read from and, for a new identity, written to (mode 0600).
	// Empty takes matrix-recovery-key.txt in StateDir.
	RecoveryKeyFile string
	// Recovery asks for the recovery key of an account that has an identity already, where the file is missing. It may be nil.
	Recovery func() (string, error)
	// ResetIdentity makes a new identity for an account whose recovery key is lost. People see that it changed.
	ResetIdentity bool
	// NewDevice gives up the device whose keys no longer fit the homeserver's.
	NewDevice bool
	// HTTPClient is for tests; nil takes the default.
	HTTPClient *http.Client
}

// LoginResult is what an operator is told.
type LoginResult struct {
	UserID, DeviceID string
	// RecoveryKeyFile is the file that was written, to be kept somewhere else; empty where none was.
	RecoveryKeyFile string
	// Restored tells that the account kept the identity it had.
	Restored bool
	// Ended lists the devices that the bot had before and that are gone now, Left those that could not be ended.
	Ended, Left []string
}

// ErrNeedRecoveryKey says that the account was used before, so that a new device needs its recovery key.
var ErrNeedRecoveryKey = errors.New("this account already has an identity, so the bot's new device must be signed with the recovery key: put it into matrix-recovery-key.txt in the state directory or type it when asked. If it is lost, `starling matrix login --reset-identity` makes a new identity: rooms and settings stay, but people will see that it changed, and have only your word that it is the same bot")

// Login sets the bot's account up: a device of its own, signed by the account's identity, so that clients show no warning beside
// what it says. A login that was interrupted is completed by calling it again. The password is not stored.
func Login(ctx context.Context, o LoginOptions) (LoginResult, error) {
	ctx = quiet(ctx)
	if o.RecoveryKeyFile == "" {
		o.RecoveryKeyFile = filepath.Join(o.StateDir, recoveryFile)
	}
	if o.Password != nil {
		o.Password = sync.OnceValues(o.Password)
	}
	st, err := openStore(ctx, o.StateDir, true)
	if errors.Is(err, ErrUnreadable) && o.NewDevice {
		if err := removeDatabase(o.StateDir); err != nil {
			return LoginResult{}, err
		}
		st, err = openStore(ctx, o.StateDir, true)
	}
	if err != nil {
		return LoginResult{}, err
	}
	defer func() { st.close() }()

	old, err := st.session(ctx)
	if err != nil {
		return LoginResult{}, err
	}
	deviceID := id.DeviceID("")
	if old != nil {
		state, err := o.stateOf(ctx, old)
		switch {
		case err != nil:
			return LoginResult{}, err
		case state == sessionAlive && old.Ready && !o.NewDevice:
			return LoginResult{UserID: old.UserID.String(), DeviceID: old.DeviceID.String()}, ErrAlreadyLoggedIn
		case state == sessionAlive && !o.NewDevice:
			return o.finish(ctx, st, old)
		case state == sessionExpired && !o.NewDevice:
			deviceID = old.DeviceID // only the token has ended: the device and its keys go on
		default:
			// The device is gone, and its keys with it; where it is not, it goes now.
			if state == sessionAlive {
				if cli, err := newClient(old.Homeserver, o.HTTPClient); err == nil {
					cli.UserID, cli.AccessToken = old.UserID, old.AccessToken
					if _, err := cli.Logout(ctx); err != nil {
						return LoginResult{}, clean(err)
					}
				}
			}
			if err := st.close(); err != nil {
				return LoginResult{}, err
			}
			if err := removeDatabase(o.StateDir); err != nil {
				return LoginResult{}, err
			}
			if st, err = openStore(ctx, o.StateDir, true); err != nil {
				return LoginResult{}, err
			}
		}
	}
	s, err := o.login(ctx, deviceID)
	if err != nil {
		return LoginResult{}, err
	}
	if err := st.putSession(ctx, *s); err != nil {
		return LoginResult{}, err
	}
	return o.finish(ctx, st, s)
}

type sessionState int

const (
	sessionAlive sessionState = iota
	sessionExpired
	sessionGone
)

func (o *LoginOptions) stateOf(ctx context.Context, s *session) (sessionState, error) {
	cli, err := newClient(s.Homeserver, o.HTTPClient)
	if err != nil {
		return 0, err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = s.UserID, s.DeviceID, s.AccessToken
	_, err = cli.Whoami(ctx)
	switch {
	case err == nil:
		return sessionAlive, nil
	case loggedOut(err) && softLogout(err):
		return sessionExpired, nil
	case loggedOut(err):
		return sessionGone, nil
	}
	return 0, clean(err)
}

// removeDatabase makes room for a new device. The recovery key lies outside and stays.
func removeDatabase(dir string) error {
	var errs []error
	for _, name := range []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm", keyFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// login gets a session from the homeserver: by token, or by password for a new device or the one that is named.
func (o *LoginOptions) login(ctx context.Context, deviceID id.DeviceID) (*session, error) {
	homeserver, err := o.homeserver(ctx)
	if err != nil {
		return nil, err
	}
	cli, err := newClient(homeserver, o.HTTPClient)
	if err != nil {
		return nil, err
	}
	if o.Token != "" {
		cli.AccessToken = o.Token
		who, err := cli.Whoami(ctx)
		switch {
		case loggedOut(err):
			return nil, errors.New("the homeserver does not accept this access token")
		case err != nil:
			return nil, clean(err)
		case who.DeviceID == "":
			return nil, errors.New("this access token belongs to no device, so nothing could be encrypted with it: log in with the password instead")
		case o.User != "" && strings.HasPrefix(o.User, "@") && o.User != who.UserID.String():
			return nil, errors.New("this access token belongs to another account than the one that was named")
		}
		return &session{Homeserver: homeserver, UserID: who.UserID, DeviceID: who.DeviceID, AccessToken: o.Token}, nil
	}
	if token, err := serviceToken(o.StateDir); err != nil {
		return nil, err
	} else if token != "" {
		return o.loginService(ctx, homeserver, token, deviceID)
	}
	if o.User == "" || o.Password == nil {
		return nil, errors.New("a login needs an address and its password, or an access token")
	}
	password, err := o.Password()
	if err != nil {
		return nil, err
	}
	resp, err := cli.Login(ctx, &mautrix.ReqLogin{
		Type:                     mautrix.AuthTypePassword,
		Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: o.User},
		Password:                 password,
		DeviceID:                 deviceID,
		InitialDeviceDisplayName: deviceName,
	})
	switch {
	case errors.Is(err, mautrix.MForbidden):
		return nil, errors.New("the homeserver does not accept this address and password")
	case hasCode(err, "M_UNRECOGNIZED", "M_UNKNOWN"):
		return nil, errors.New("this homeserver does not take passwords here: create an access token for the bot and log in with that")
	case err != nil:
		return nil, clean(err)
	}
	return &session{Homeserver: homeserver, UserID: resp.UserID, DeviceID: resp.DeviceID, AccessToken: resp.AccessToken}, nil
}

// deviceName is what people see in lists of devices.
const deviceName = "Starling"

func hasScheme(s string) bool { return strings.Contains(s, "://") }

// homeserver finds the address to talk to.
func (o *LoginOptions) homeserver(ctx context.Context) (string, error) {
	if hasScheme(o.Homeserver) {
		return strings.TrimRight(o.Homeserver, "/"), nil
	}
	name := o.Homeserver
	if name == "" {
		name = id.UserID(o.User).Homeserver()
	}
	if name == "" {
		return "", errors.New("which homeserver? Give the bot's whole address (@bot:example.org) or the homeserver's URL")
	}
	hc := o.HTTPClient
	if hc == nil {
		hc = &http.Client{Timeout: 30 * time.Second}
	}
	wk, err := mautrix.DiscoverClientAPIWithClient(ctx, hc, name)
	if err == nil && wk != nil && wk.Homeserver.BaseURL != "" {
		return strings.TrimRight(wk.Homeserver.BaseURL, "/"), nil
	}
	return "https://" + name, nil
}

// finish gives the device its keys and has it signed by the account's identity, which is made where there is none.
func (o *LoginOptions) finish(ctx context.Context, st *store, s *session) (LoginResult, error) {
	res := LoginResult{UserID: s.UserID.String(), DeviceID: s.DeviceID.String()}
	cli, err := newClient(s.Homeserver, o.HTTPClient)
	if err != nil {
		return res, err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = s.UserID, s.DeviceID, s.AccessToken
	mach, err := newMachine(ctx, cli, st)
	if err != nil {
		return res, err
	}
	defer mach.Destroy()
	if err := checkDevice(ctx, cli, mach); errors.Is(err, ErrDeviceLost) && o.Token != "" {
		return res, errors.New("this access token belongs to a device that already has encryption keys, as one taken from another client does: log in with the password, or create a token for a new device")
	} else if errors.Is(err, ErrDeviceLost) {
		return res, err
	} else if err != nil {
		return res, clean(err)
	}
	resp, err := cli.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{s.UserID: {}}})
	if err != nil {
		return res, clean(err)
	}
	_, has := resp.MasterKeys[s.UserID]
	switch {
	case !has || o.ResetIdentity:
		if res.RecoveryKeyFile, err = o.newIdentity(ctx, mach); err != nil {
			return res, err
		}
	case signedByOwner(resp, s.UserID, s.DeviceID):
		res.Restored = true
	default:
		if err := o.restore(ctx, mach); err != nil {
			return res, err
		}
		res.Restored = true
	}
	// Our own keys, as others see them.
	if _, err := mach.FetchKeys(ctx, []id.UserID{s.UserID}, true); err != nil {
		return res, clean(err)
	}
	s.Ready = true
	if err := st.putSession(ctx, *s); err != nil {
		return res, err
	}
	res.Ended, res.Left = o.endEarlier(ctx, cli)
	return res, nil
}

// endEarlier ends the devices whose keys the bot has lost: it has one device, and nobody who finds an old one shall speak as it. A homeserver
// lets everybody end a device who can log in as it.
func (o *LoginOptions) endEarlier(ctx context.Context, cli *mautrix.Client) (ended, left []string) {
	all, err := cli.GetDevicesInfo(ctx)
	if err != nil {
		return nil, nil
	}
	for _, d := range all.Devices {
		if d.DisplayName != deviceName || d.DeviceID == cli.DeviceID {
			continue
		}
		if o.end(ctx, d.DeviceID) == nil {
			ended = append(ended, d.DeviceID.String())
		} else {
			left = append(left, d.DeviceID.String())
		}
	}
	return ended, left
}

func (o *LoginOptions) end(ctx context.Context, device id.DeviceID) error {
	if o.Token != "" {
		return errors.New("a token is one device's only")
	}
	s, err := o.login(ctx, device)
	if err != nil {
		return err
	}
	cli, err := newClient(s.Homeserver, o.HTTPClient)
	if err != nil {
		return err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = s.UserID, s.DeviceID, s.AccessToken
	_, err = cli.Logout(ctx)
	return err
}

func signedByOwner(resp *mautrix.RespQueryKeys, user id.UserID, device id.DeviceID) bool {
	key := resp.SelfSigningKeys[user]
	_, signed := resp.DeviceKeys[user][device].Signatures[user][id.NewKeyID(id.KeyAlgorithmEd25519, key.FirstKey().String())]
	return signed
}

// newIdentity makes the account's signing keys. The recovery key is on disk before the homeserver hears of them.
func (o *LoginOptions) newIdentity(ctx context.Context, mach *crypto.OlmMachine) (file string, err error) {
	key, err := mach.SSSS.GenerateAndUploadKey(ctx, "")
	if err != nil {
		return "", clean(err)
	}
	if err := writeRecoveryKey(o.RecoveryKeyFile, key.RecoveryKey()); err != nil {
		return "", fmt.Errorf("the recovery key cannot be written: %w", err)
	}
	keys, err := mach.GenerateCrossSigningKeys()
	if err != nil {
		return "", err
	}
	if err := mach.UploadCrossSigningKeysToSSSS(ctx, key, keys); err != nil {
		return "", clean(err)
	}
	// Before the keys are public: an interrupted login then goes on with the recovery key.
	if err := mach.SSSS.SetDefaultKeyID(ctx, key.ID); err != nil {
		return "", clean(err)
	}
	restore, err := o.asService(ctx, mach)
	if err != nil {
		return "", err
	}
	defer restore()
	var askErr error
	err = mach.PublishCrossSigningKeys(ctx, keys, func(ui *mautrix.RespUserInteractive) any {
		if o.Password == nil || !ui.HasSingleStageFlow(mautrix.AuthTypePassword) {
			askErr = errors.New("this homeserver wants the account's signing keys confirmed in a way that the bot cannot do: sign in to the account once with another client, set up its recovery key there, and log in again with that key")
			return nil
		}
		password, err := o.Password()
		if err != nil {
			askErr = err
			return nil
		}
		return &mautrix.ReqUIAuthLogin{
			BaseAuthData: mautrix.BaseAuthData{Type: mautrix.AuthTypePassword, Session: ui.Session},
			User:         mach.Client.UserID.String(),
			Password:     password,
		}
	})
	if askErr != nil {
		return "", askErr
	} else if err != nil {
		return "", fmt.Errorf("the homeserver did not take the account's signing keys: %w", clean(err))
	}
	restore()
	return o.RecoveryKeyFile, sign(ctx, mach)
}

func sign(ctx context.Context, mach *crypto.OlmMachine) error {
	if err := mach.SignOwnDevice(ctx, mach.OwnIdentity()); err != nil {
		return fmt.Errorf("the device could not be signed: %w", clean(err))
	}
	if err := mach.SignOwnMasterKey(ctx); err != nil {
		return fmt.Errorf("the identity could not be signed by the device: %w", clean(err))
	}
	return nil
}

// restore signs the new device with the identity that the account has.
func (o *LoginOptions) restore(ctx context.Context, mach *crypto.OlmMachine) error {
	key, err := os.ReadFile(o.RecoveryKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if o.Recovery == nil {
			return ErrNeedRecoveryKey
		}
		typed, err := o.Recovery()
		if err != nil {
			return err
		}
		key = []byte(typed)
	} else if err != nil {
		return fmt.Errorf("the recovery key cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(key))
	if text == "" {
		return ErrNeedRecoveryKey
	}
	err = mach.VerifyWithRecoveryKey(ctx, text)
	switch {
	case errors.Is(err, ssss.ErrInvalidRecoveryKey), errors.Is(err, ssss.ErrIncorrectSSSSKey):
		return errors.New("this recovery key does not open the account's identity: look for the newest one. If it is lost, `starling matrix login --reset-identity` makes a new identity, and people will see that it changed")
	case err != nil:
		return fmt.Errorf("the account's identity could not be restored: %w", clean(err))
	}
	return nil
}

// writeRecoveryKey writes the key so that it is whole or not there. A key that was there before is set aside.
func writeRecoveryKey(file, key string) error {
	if _, err := os.Stat(file); err == nil {
		if err := os.Rename(file, fmt.Sprintf("%s.old-%d", file, time.Now().Unix())); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(key + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
