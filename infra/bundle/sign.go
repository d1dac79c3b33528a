package bundle

import (
	"errors"
	"fmt"
	"os"

	"aead.dev/minisign"

	"github.com/berth-dev/berth/infra/problem"
)

// Signer reads a secret key of minisign and returns what signs with it.
// password is "" for a key without one.
func Signer(path, password string) (func(index []byte) []byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, problem.New("read the secret key", err, "make one: minisign -G")
	}
	var key minisign.PrivateKey
	if minisign.IsEncrypted(raw) {
		if password == "" {
			return nil, problem.New(fmt.Sprintf("use the secret key %q", path), errors.New("it has a password"), "put it into BERTH_SIGN_PASSWORD")
		}
		key, err = minisign.DecryptKey(password, raw)
	} else {
		err = key.UnmarshalText(raw)
	}
	if err != nil {
		return nil, problem.New(fmt.Sprintf("use the secret key %q", path), err, "check the password in BERTH_SIGN_PASSWORD")
	}
	return func(index []byte) []byte { return minisign.Sign(key, index) }, nil
}

// Verifier reads a public key of minisign, a file or the key itself, and returns
// what Reader.Verify needs.
func Verifier(key string) (func(index, signature []byte) error, error) {
	var public minisign.PublicKey
	if err := public.UnmarshalText([]byte(key)); err != nil {
		if public, err = minisign.PublicKeyFromFile(key); err != nil {
			return nil, problem.New(fmt.Sprintf("read the public key %q", key), err, "give the file minisign.pub, or the key itself (RW...)")
		}
	}
	return func(index, signature []byte) error {
		if !minisign.Verify(public, index, signature) {
			return problem.New("verify the bundle", errors.New("its signature is not of this key, or its index was changed"),
				"do not use it; ask whoever made it")
		}
		return nil
	}, nil
}
