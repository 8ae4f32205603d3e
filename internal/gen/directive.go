package gen

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/semver"
)

type kind string

const (
	activity      kind = "activity"
	orchestration kind = "orchestration"
)

// keys are what a directive of each kind may say.
var keys = map[kind][]string{
	activity:      {"name", "var", "tags"},
	orchestration: {"name", "version", "var", "tags"},
}

// defaultVersion is the version of an orchestration whose directive has none,
// as it is for Bind.
const defaultVersion = "1.0.0"

// directive is what stands above a function.
type directive struct {
	kind    kind
	pos     token.Pos
	name    string // empty: after the function
	version string // empty for activities
	varName string // empty: after the function
	tags    []string
}

// directives returns the directives of a file with their functions, in the
// order of the file.
func (u *unit) directives(file *ast.File) (found []declared) {
	taken := map[*ast.Comment]bool{}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Doc == nil {
			continue
		}
		for _, c := range fn.Doc.List {
			taken[c] = true
			if text := strings.TrimLeft(c.Text, "/ \t"); strings.HasPrefix(c.Text, "// ") && isDirective(text) {
				u.problem(c.Pos(), fmt.Sprintf("a directive begins without a space: //%s", text))
				continue
			}
			d, ok := u.directive(c)
			switch {
			case !ok:
			case len(found) > 0 && found[len(found)-1].decl == fn:
				u.problem(c.Pos(), fn.Name.Name+" has more than one directive")
			default:
				found = append(found, declared{d, fn})
			}
		}
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if text, ok := strings.CutPrefix(c.Text, "//"); ok && !taken[c] && isDirective(text) {
				u.problem(c.Pos(), "this directive belongs to no function: it must be in the comment directly above one")
			}
		}
	}
	return found
}

// declared is a function with its directive.
type declared struct {
	directive
	decl *ast.FuncDecl
}

func isDirective(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	name, ok := strings.CutPrefix(strings.TrimSpace(word), "durango:")
	return ok && keys[kind(name)] != nil
}

// directive reads one line of a function's comment.
func (u *unit) directive(c *ast.Comment) (directive, bool) {
	line, ok := ast.ParseDirective(c.Slash, c.Text)
	if !ok || line.Tool != "durango" {
		return directive{}, false
	}
	d := directive{kind: kind(line.Name), pos: c.Pos()}
	if keys[d.kind] == nil {
		u.problem(c.Pos(), fmt.Sprintf("unknown directive durango:%s; there are durango:activity and durango:orchestration", line.Name))
		return d, false
	}
	if d.kind == orchestration {
		d.version = defaultVersion
	}
	problems := len(u.problems)
	seen := map[string]bool{}
	for rest, at := line.Args, line.ArgsPos; ; {
		trimmed := strings.TrimLeftFunc(rest, unicode.IsSpace)
		at += token.Pos(len(rest) - len(trimmed))
		if trimmed == "" {
			break
		}
		n, text := u.argument(&d, seen, trimmed, at)
		if text != "" {
			u.problem(at, text)
		}
		rest, at = trimmed[n:], at+token.Pos(n)
	}
	return d, len(u.problems) == problems
}

// argument reads the key=value at the beginning of s. It returns its length and
// what is wrong with it.
func (u *unit) argument(d *directive, seen map[string]bool, s string, at token.Pos) (n int, problem string) {
	n = strings.IndexFunc(s, unicode.IsSpace)
	if n < 0 {
		n = len(s)
	}
	key, value, ok := strings.Cut(s[:n], "=")
	if !ok {
		return n, fmt.Sprintf("%q is not key=value; %s", key, d.known())
	}
	if strings.HasPrefix(value, `"`) {
		quoted, err := strconv.QuotedPrefix(s[len(key)+1:])
		if err != nil {
			return len(s), fmt.Sprintf("the value of %s has no closing quote", key)
		}
		n = len(key) + 1 + len(quoted)
		value, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
	}
	switch {
	case d.kind == activity && key == "version":
		return n, "an activity has no versions; " + d.known()
	case !slices.Contains(keys[d.kind], key):
		return n, fmt.Sprintf("unknown key %q; %s", key, d.known())
	case seen[key]:
		return n, fmt.Sprintf("the key %s is there twice", key)
	case value == "":
		return n, fmt.Sprintf("%s= has no value", key)
	}
	seen[key] = true
	switch key {
	case "name":
		d.name, problem = value, checkName(value)
	case "version":
		d.version, problem = value, checkVersion(value)
	case "var":
		d.varName = value
		if !token.IsIdentifier(value) || value == "_" {
			problem = fmt.Sprintf("var=%s is not the name of a variable", value)
		}
	case "tags":
		d.tags, problem = splitTags(value)
	}
	return n, problem
}

func (d *directive) known() string {
	k := keys[d.kind]
	return fmt.Sprintf("an %s has %s and %s", d.kind, strings.Join(k[:len(k)-1], ", "), k[len(k)-1])
}

// checkName and checkVersion are durango's own rules, told at the directive
// instead of when the program starts.
func checkName(name string) string {
	const limit = 255
	switch {
	case len(name) > limit:
		return fmt.Sprintf("the name is %d bytes long, the limit is %d", len(name), limit)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Sprintf("the name %q is not text without control characters", name)
	case strings.HasPrefix(name, "durango/"):
		return fmt.Sprintf("the name %q is reserved, as all that begin with durango/", name)
	}
	return ""
}

func checkVersion(v string) string {
	if strings.Contains(v, "+") || !semver.IsValid("v"+v) || semver.Canonical("v"+v) != "v"+v {
		return fmt.Sprintf("version=%s is not MAJOR.MINOR.PATCH, as in 1.4.0", v)
	}
	return ""
}

func splitTags(list string) (tags []string, problem string) {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		switch {
		case tag == "":
			return nil, "tags= has an empty tag; tags are separated by commas"
		case strings.ContainsFunc(tag, unicode.IsControl):
			return nil, fmt.Sprintf("the tag %q has control characters", tag)
		case slices.Contains(tags, tag):
			return nil, fmt.Sprintf("the tag %q is there twice", tag)
		}
		tags = append(tags, tag)
	}
	return tags, ""
}

// kebab is a function's name as a durable name: ChargeCard is charge-card,
// FetchURL is fetch-url, HTTPGet is http-get.
func kebab(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if r == '_' {
			r = '-'
		}
		upper := unicode.IsUpper(r)
		if upper && i > 0 && runes[i-1] != '_' {
			after := !unicode.IsUpper(runes[i-1])
			before := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if after || before {
				b.WriteByte('-')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
