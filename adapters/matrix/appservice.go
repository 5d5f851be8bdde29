package matrix

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// As an application service the bot is exempt from the homeserver's rate limits. It stays what it is, a device of an account that
// syncs and has its keys; only what homeservers limit (sending, joining, leaving, making rooms) goes out with the service's token,
// because Synapse exempts requests by that token and nothing else. Events that were sent so do not bring their transaction id
// back to the device: they carry it themselves, sealed (mark), so that a crash repeats nothing in this mode either.

// registrationFile is what the homeserver is given, in the state directory. That it is there, and that the homeserver knows it,
// is all that this mode needs.
const registrationFile = "matrix-appservice.yaml"

// The service's own user is another than the bot: Synapse lets that user not sync. It is never seen. Neither org.matrix.msc3202
// (only about what a homeserver pushes, and nothing is pushed to no URL) nor io.element.msc4190 (it forbids the login by which
// the bot gets its device) is set.
const registrationText = `# Starling's registration as an application service, for the homeserver's administrator. Keep it secret: who has it can act as the bot.
id: %[1]s
url: null                # nothing is pushed: the bot asks
as_token: %[2]s
hs_token: %[3]s
sender_localpart: %[4]s  # a user that is never seen; the bot itself is the one below
rate_limited: false
namespaces:
  users:
    - exclusive: true
      regex: %[5]s
  aliases: []
  rooms: []
`

// WriteRegistration writes the registration for a user and returns its file. One that is there stays as it is: the homeserver
// may know it.
func WriteRegistration(dir, user string) (file string, written bool, err error) {
	file = filepath.Join(dir, registrationFile)
	name, _, err := id.UserID(user).ParseAndValidateStrict()
	if err != nil {
		return file, false, errors.New("an application service needs the bot's whole address, in small letters: @starling:example.org")
	}
	if _, err := os.Stat(file); err == nil {
		return file, false, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return file, false, fmt.Errorf("the state directory cannot be made: %w", err)
	}
	regex := "^" + regexp.QuoteMeta(user) + "$"
	var quoted []any
	for _, s := range []string{"starling-" + name, rand.Text() + rand.Text(), rand.Text() + rand.Text(), name + "-registration", regex} {
		q, err := json.Marshal(s) // which is YAML, too
		if err != nil {
			return file, false, err
		}
		quoted = append(quoted, string(q))
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return file, false, fmt.Errorf("the registration cannot be written: %w", err)
	}
	_, err = fmt.Fprintf(f, registrationText, quoted...)
	return file, true, errors.Join(err, f.Sync(), f.Close())
}

// serviceToken reads the service's token, "" where there is no registration.
func serviceToken(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, registrationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("the registration cannot be read: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var token string
		if value, ok := strings.CutPrefix(line, "as_token:"); ok && json.Unmarshal([]byte(value), &token) == nil && token != "" {
			return token, nil
		}
	}
	return "", fmt.Errorf("%s holds no as_token as Starling writes it: delete it and run `starling matrix appservice` again", registrationFile)
}

// serviceClient acts as the account with the service's token. A homeserver that knows how (MSC4326) takes it for the same device.
func serviceClient(homeserver, token string, user id.UserID, device id.DeviceID, hc *http.Client) (*mautrix.Client, error) {
	cli, err := newClient(homeserver, hc)
	if err != nil {
		return nil, err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = user, device, token
	cli.SetAppServiceUserID, cli.SetAppServiceDeviceID = true, true
	return cli, nil
}

// refusesService tells that the homeserver does not know the registration, or not for this user.
func refusesService(err error) bool { return loggedOut(err) || httpStatus(err) == http.StatusForbidden }

// openService makes the service's client where there is a registration.
func (a *Adapter) openService() error {
	token, err := serviceToken(a.cfg.StateDir)
	if err != nil || token == "" {
		return err
	}
	cli, err := serviceClient(a.cli.HomeserverURL.String(), token, a.me, a.cli.DeviceID, a.cfg.HTTPClient)
	if err == nil {
		a.service.Store(cli)
	}
	return err
}

// checkService makes sure that the homeserver knows the registration. Without it the bot runs as an ordinary account.
func (a *Adapter) checkService(ctx context.Context) error {
	cli := a.service.Load()
	if cli == nil {
		return nil
	}
	_, err := cli.Whoami(ctx)
	if refusesService(err) {
		a.dropService(cli)
		return nil
	}
	return err
}

func (a *Adapter) dropService(cli *mautrix.Client) {
	if a.service.CompareAndSwap(cli, nil) {
		a.log.Warn().Msg("The homeserver does not know the application service's registration; running as an ordinary account, within its limits. See `starling doctor`")
	}
}

// speak makes a call that homeservers limit: as the application service where there is one.
func (a *Adapter) speak(ctx context.Context, call func(cli *mautrix.Client) error) error {
	cli := a.service.Load()
	if cli == nil {
		return call(a.cli)
	}
	err := call(cli)
	if !refusesService(err) {
		return err
	}
	// Is it the service that is refused, or what it asked for?
	if _, why := cli.Whoami(ctx); !refusesService(why) {
		return err
	}
	a.dropService(cli)
	return call(a.cli)
}

// sentMark is where an event that was sent by the service carries the Outgoing.ID, sealed: to anybody else it says nothing.
const sentMark = "org.starling.sent"

func markPlace(rid id.RoomID) string { return sentMark + ":id:" + rid.String() }

// mark adds the Outgoing.ID to what is sent, where its transaction id would not come back.
func (a *Adapter) mark(out bot.Outgoing, content map[string]any) map[string]any {
	if a.service.Load() != nil {
		sealed := a.store.box.Seal(markPlace(id.RoomID(out.Room)), []byte(out.ID))
		content[sentMark] = base64.RawStdEncoding.EncodeToString(sealed)
	}
	return content
}

// sentAs is the Outgoing.ID of an own event, "" where it is not known.
func (a *Adapter) sentAs(rid id.RoomID, evt *event.Event) string {
	outID, ok := strings.CutPrefix(evt.Unsigned.TransactionID, transactionPrefix)
	if !ok {
		mark, _ := evt.Content.Raw[sentMark].(string)
		sealed, err := base64.RawStdEncoding.DecodeString(clip(mark, 4*maxName))
		if err != nil {
			return ""
		}
		open, err := a.store.box.Open(markPlace(rid), sealed)
		if err != nil {
			return ""
		}
		outID = string(open)
	}
	if len(outID) > maxName {
		return ""
	}
	return outID
}

// errServiceUnknown is what an operator is told who logs in too early.
var errServiceUnknown = errors.New("the homeserver does not know the application service in " + registrationFile + " yet: put that file where the homeserver reads registrations, restart the homeserver, and log in again. To log in with the password instead, delete the file")

// loginService gets a device for the account by the service's token, and the account where there is none.
func (o *LoginOptions) loginService(ctx context.Context, homeserver, token string, deviceID id.DeviceID) (*session, error) {
	if o.User == "" {
		return nil, errors.New("a login needs an address")
	}
	cli, err := newClient(homeserver, o.HTTPClient)
	if err != nil {
		return nil, err
	}
	cli.AccessToken = token
	name := strings.TrimPrefix(strings.SplitN(o.User, ":", 2)[0], "@")
	_, err = cli.MakeRequest(ctx, http.MethodPost, cli.BuildClientURL("v3", "register"), map[string]any{
		"type": mautrix.AuthTypeAppservice, "username": name, "inhibit_login": true,
	}, nil)
	switch {
	case err == nil, errors.Is(err, mautrix.MUserInUse):
	case refusesService(err), hasCode(err, "M_EXCLUSIVE"):
		return nil, errServiceUnknown
	default:
		return nil, clean(err)
	}
	resp, err := cli.Login(ctx, &mautrix.ReqLogin{
		Type:                     mautrix.AuthTypeAppservice,
		Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: name},
		DeviceID:                 deviceID,
		InitialDeviceDisplayName: deviceName,
	})
	switch {
	case refusesService(err), hasCode(err, "M_EXCLUSIVE"):
		return nil, errServiceUnknown
	case hasCode(err, "M_UNRECOGNIZED", "M_UNKNOWN", "M_APPSERVICE_LOGIN_UNSUPPORTED", "IO.ELEMENT.MSC4190.M_APPSERVICE_LOGIN_UNSUPPORTED"):
		return nil, errors.New("this homeserver gives application services no device: have an access token made for the bot and log in with `starling matrix login --token`; it then still sends as the application service")
	case err != nil:
		return nil, clean(err)
	}
	return &session{Homeserver: homeserver, UserID: resp.UserID, DeviceID: resp.DeviceID, AccessToken: resp.AccessToken}, nil
}

// asService lets the machine publish the account's signing keys as the application service, until restore is called: Synapse
// then asks for no password, also where they replace others. Without a registration that the homeserver knows it changes nothing.
func (o *LoginOptions) asService(ctx context.Context, mach *crypto.OlmMachine) (restore func(), err error) {
	device := mach.Client
	restore = func() { mach.Client = device }
	token, err := serviceToken(o.StateDir)
	if err != nil || token == "" || o.Token != "" {
		return restore, err
	}
	cli, err := serviceClient(device.HomeserverURL.String(), token, device.UserID, device.DeviceID, o.HTTPClient)
	if err != nil {
		return restore, err
	}
	if _, err := cli.Whoami(ctx); err == nil {
		mach.Client = cli
	}
	return restore, nil
}
