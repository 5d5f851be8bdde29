package standin

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
)

// Keys are kept as they come and given back with all signatures: enough for a bot that sets up encryption although no
// room here is encrypted. Nothing is verified.

func uploadKeys(s *Server, in *request) (any, error) {
	var device json.RawMessage
	var oneTime map[string]json.RawMessage
	if err := errors.Join(in.arg("device_keys", &device), in.arg("one_time_keys", &oneTime)); err != nil {
		return nil, err
	}
	account := s.account(in.user)
	if device != nil {
		account.devices[in.device] = device
	}
	for id := range oneTime {
		algorithm, _, _ := strings.Cut(id, ":")
		account.oneTime[algorithm]++
	}
	return object{"one_time_key_counts": maps.Clone(account.oneTime)}, nil
}

func queryKeys(s *Server, in *request) (any, error) {
	var wanted map[string]json.RawMessage
	if err := in.arg("device_keys", &wanted); err != nil {
		return nil, err
	}
	devices, cross := object{}, map[string]object{"master": {}, "self_signing": {}, "user_signing": {}}
	for user := range wanted {
		account := s.accounts[user]
		if account == nil {
			continue
		}
		devices[user] = maps.Clone(account.devices)
		for usage, keys := range cross {
			if key := account.cross[usage]; key != nil {
				keys[user] = key
			}
		}
	}
	return object{
		"device_keys": devices, "failures": object{},
		"master_keys": cross["master"], "self_signing_keys": cross["self_signing"], "user_signing_keys": cross["user_signing"],
	}, nil
}

func claimKeys(*Server, *request) (any, error) {
	return object{"one_time_keys": object{}, "failures": object{}}, nil
}

func uploadCrossSigning(s *Server, in *request) (any, error) {
	for _, usage := range []string{"master", "self_signing", "user_signing"} {
		if key, ok := in.body[usage+"_key"]; ok {
			s.account(in.user).cross[usage] = key
		}
	}
	return object{}, nil
}

// uploadSignatures adds signatures to the device or cross-signing key that each stands for.
func uploadSignatures(s *Server, in *request) (any, error) {
	for user, raw := range in.body {
		var signed map[string]json.RawMessage // device id or public key -> signed object
		if err := json.Unmarshal(raw, &signed); err != nil {
			return nil, err
		}
		account := s.account(user)
		for id, object := range signed {
			for _, keys := range []map[string]json.RawMessage{account.devices, account.cross} {
				for name, key := range keys {
					var of struct{ Keys map[string]string }
					if err := json.Unmarshal(key, &of); err != nil {
						return nil, err
					}
					if _, ok := of.Keys["ed25519:"+id]; !ok {
						continue
					}
					merged, err := mergeSignatures(key, object)
					if err != nil {
						return nil, err
					}
					keys[name] = merged
				}
			}
		}
	}
	return object{"failures": object{}}, nil
}

// mergeSignatures returns key with the signatures of both.
func mergeSignatures(key, signed json.RawMessage) (json.RawMessage, error) {
	type signatures = map[string]map[string]string
	var into map[string]json.RawMessage
	var from struct{ Signatures signatures }
	if err := errors.Join(json.Unmarshal(key, &into), json.Unmarshal(signed, &from)); err != nil {
		return nil, err
	}
	all := signatures{}
	if raw, ok := into["signatures"]; ok {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
	}
	for user, keys := range from.Signatures {
		if all[user] == nil {
			all[user] = map[string]string{}
		}
		maps.Copy(all[user], keys)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	into["signatures"] = raw
	return json.Marshal(into)
}
