package composefile

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
)

// A binder puts plain values into compose-go's types, by the yaml tags of their
// fields. It does what compose-go's own decoder does, in a tenth of the time,
// and knows the path of what does not fit.
type binder struct {
	errs []bindError
}

type bindError struct {
	at  string
	err error
}

// decodable are the types of compose-go that decode themselves.
type decodable interface{ DecodeMapstructure(value any) error }

func (b *binder) fail(at *attribute, err error) {
	b.errs = append(b.errs, bindError{at.String(), err})
}

// bind puts a value into a variable. Nothing is done for an empty value.
func (b *binder) bind(value any, into reflect.Value, at *attribute) {
	if value == nil {
		return
	}
	if d, ok := into.Addr().Interface().(decodable); ok {
		if err := d.DecodeMapstructure(value); err != nil {
			b.fail(at, err)
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		target := reflect.New(into.Type().Elem())
		b.bind(value, target.Elem(), at)
		into.Set(target)
	case reflect.Interface:
		into.Set(reflect.ValueOf(value))
	case reflect.Struct:
		b.structure(value, into, at)
	case reflect.Map:
		b.mapping(value, into, at)
	case reflect.Slice:
		b.list(value, into, at)
	default:
		if err := scalar(value, into); err != nil {
			b.fail(at, err)
		}
	}
}

func (b *binder) structure(value any, into reflect.Value, at *attribute) {
	entries, ok := value.(map[string]any)
	if !ok {
		b.fail(at, fmt.Errorf("it must be a mapping, not %v", value))
		return
	}
	fields := fieldsOf(into.Type())
	for key, entry := range entries {
		if index, ok := fields[key]; ok {
			b.bind(entry, into.FieldByIndex(index), at.field(key))
		}
	}
	// The content of a secret from a variable comes as an extension, so that it
	// is not printed.
	if secret, ok := into.Addr().Interface().(*types.SecretConfig); ok {
		if content, ok := secret.Extensions[secretContent].(string); ok {
			secret.Content = content
			delete(secret.Extensions, secretContent)
			if len(secret.Extensions) == 0 {
				secret.Extensions = nil
			}
		}
	}
}

func (b *binder) mapping(value any, into reflect.Value, at *attribute) {
	entries, ok := value.(map[string]any)
	if !ok {
		b.fail(at, fmt.Errorf("it must be a mapping, not %v", value))
		return
	}
	made := reflect.MakeMapWithSize(into.Type(), len(entries))
	for key, entry := range entries {
		element := reflect.New(into.Type().Elem()).Elem()
		b.bind(entry, element, at.field(key))
		made.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), element)
	}
	into.Set(made)
}

func (b *binder) list(value any, into reflect.Value, at *attribute) {
	items, ok := value.([]any)
	if !ok {
		b.fail(at, fmt.Errorf("it must be a list, not %v", value))
		return
	}
	made := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		b.bind(item, made.Index(i), at.item(i))
	}
	into.Set(made)
}

// scalar sets a text, number or boolean. Texts become numbers and booleans, and
// whole numbers texts, where the type asks for it.
func scalar(value any, into reflect.Value) error {
	given := reflect.ValueOf(value)
	text, isText := value.(string)
	switch into.Kind() {
	case reflect.String:
		if isText {
			into.SetString(text)
			return nil
		}
		if number, ok := value.(int); ok {
			into.SetString(strconv.Itoa(number))
			return nil
		}
	case reflect.Bool:
		if isText {
			parsed, err := toBool(text)
			if err == nil {
				into.SetBool(parsed.(bool))
			}
			return err
		}
		if given.Kind() == reflect.Bool {
			into.SetBool(given.Bool())
			return nil
		}
	default:
		if isText {
			parsed, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("%q is not a number", text)
			}
			given = reflect.ValueOf(parsed)
		}
		if given.CanConvert(into.Type()) && given.Kind() != reflect.Bool {
			into.Set(given.Convert(into.Type()))
			return nil
		}
	}
	return fmt.Errorf("%v is not a %s", value, into.Kind())
}

// fieldCache holds what fieldsOf has found; types do not change.
var fieldCache sync.Map

// fieldsOf maps the keys of a compose mapping to the fields of its type. Those
// of embedded structs count as the type's own.
func fieldsOf(t reflect.Type) map[string][]int {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string][]int)
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" && f.Tag.Get("yaml") == "" { // kind and value of generic resources, path and rate of blkio_config
			name = strings.ToLower(f.Name)
		}
		if f.IsExported() && !f.Anonymous && name != "" && name != "-" {
			fields[name] = f.Index
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
