package page

import (
	"bytes"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/infra/workshop"
)

// markdown renders a step's text. Raw HTML in it is left out; what links to
// files of the step leads to where file serves them, below files.
func markdown(source []byte, files string) (template.HTML, error) {
	renderer := goldmark.New(goldmark.WithExtensions(extension.GFM))
	document := renderer.Parser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Link:
			n.Destination = onPage(n.Destination, files, entering)
		case *ast.Image:
			n.Destination = onPage(n.Destination, files, entering)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = renderer.Renderer().Render(&out, source, document)
	return template.HTML(out.String()), err //nolint:gosec // goldmark escapes what is not Markdown
}

// onPage is where a link leads on the page.
func onPage(destination []byte, files string, entering bool) []byte {
	if entering && workshop.LinkedFile(string(destination)) != "" {
		return append([]byte(files), destination...)
	}
	return destination
}

// file serves a file of a step's folder: what its text links to.
func (s *Server) file(w http.ResponseWriter, r *http.Request, _ visit, session *workshop.Session) error {
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:")
	n, err := strconv.Atoi(r.PathValue("step"))
	if err != nil || n < 1 || n > len(session.Workshop.Steps) {
		http.NotFound(w, r)
		return nil
	}
	root, err := os.OpenRoot(filepath.Join(session.Workshop.Dir, session.Workshop.Steps[n-1].Dir))
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := fs.Stat(root.FS(), r.PathValue("path"))
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return nil
	}
	http.ServeFileFS(w, r, root.FS(), r.PathValue("path"))
	return nil
}
