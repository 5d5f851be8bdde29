package matrix

import (
	"context"
	"errors"
	"time"
)

// farewellFor is how long the homeserver is waited for.
const farewellFor = 10 * time.Second

// Farewell reads what it takes to end this device at its homeserver while crypto.db is still there; what it gives does so, also
// afterwards. It is nil where there is no login.
func Farewell(ctx context.Context, dir string) (end func(context.Context) error, err error) {
	s, err := openStore(ctx, dir, false)
	if errors.Is(err, ErrNotLoggedIn) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	v, err := s.session(ctx)
	if err := errors.Join(err, s.close()); err != nil || v == nil {
		return nil, err
	}
	cli, err := newClient(v.Homeserver, nil)
	if err != nil {
		return nil, err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = v.UserID, v.DeviceID, v.AccessToken
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, farewellFor)
		defer cancel()
		if _, err := cli.Logout(ctx); err != nil && !loggedOut(err) {
			return clean(err)
		}
		return nil
	}, nil
}
