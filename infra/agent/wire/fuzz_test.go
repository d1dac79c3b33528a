package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// FuzzReadFrame checks that the decoder never takes more memory than a frame
// may have and that what it accepts encodes to the same bytes.
func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, Frame{Kind: KindRequest, Stream: 7, Payload: []byte(`{"op":"ping"}`)}))
	f.Add(AppendFrame(AppendFrame(nil, Frame{Kind: KindEnd, Stream: 1}), Frame{Kind: KindCredit, Stream: 1, Payload: credit(5)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 4, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		var again []byte
		for {
			frame, err := ReadFrame(r)
			if err != nil {
				break
			}
			if len(frame.Payload) > MaxPayload {
				t.Fatalf("a payload of %d bytes", len(frame.Payload))
			}
			again = AppendFrame(again, frame)
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatal("what was read is not what was there")
		}
	})
}

// FuzzServe feeds a server whatever comes: it must end, without a panic and
// without a handler that hangs.
func FuzzServe(f *testing.F) {
	request := Frame{Kind: KindRequest, Stream: 1, Payload: []byte(`{"op":"echo","args":{"a":1}}`)}
	f.Add(AppendFrame(nil, request))
	f.Add(AppendFrame(AppendFrame(AppendFrame(nil, request), Frame{Kind: KindData, Stream: 1, Payload: []byte("x")}), Frame{Kind: KindEnd, Stream: 1}))
	f.Add(AppendFrame(AppendFrame(nil, request), Frame{Kind: KindCancel, Stream: 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		err := Serve(t.Context(), bytes.NewReader(data), &out, Hello{}, func(ctx context.Context, r *Request) (any, error) {
			var args map[string]any
			_ = r.Args(&args)
			raw, err := io.ReadAll(r)
			return len(raw), err
		})
		_ = err // any outcome but a hang or a panic
		r := bufio.NewReader(&out)
		for {
			if _, err := ReadFrame(r); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("the server wrote what is no frame: %v", err)
			}
		}
	})
}

// FuzzFileReader reads file operations from whatever comes.
func FuzzFileReader(f *testing.F) {
	var seed bytes.Buffer
	for _, file := range []File{{Kind: FileContent, Target: "/a", Size: 3}, {Kind: FileRemoval, Target: "/b"}} {
		if err := WriteFile(&seed, file, bytes.NewReader([]byte("abc"))); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewFileReader(bytes.NewReader(data))
		for range len(data) + 1 {
			file, err := r.Next()
			if err != nil {
				return
			}
			if n, err := io.Copy(io.Discard, r); err == nil && n != file.Size && file.Kind == FileContent {
				t.Fatalf("%d bytes of %d without an error", n, file.Size)
			}
		}
		t.Fatal("more operations than bytes")
	})
}
