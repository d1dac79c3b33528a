package examples

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	soon    = 10 * time.Second // something that is all but there
	rollout = 90 * time.Second // build, load, new pods
	moved   = 60 * time.Second // pods of a lost node run elsewhere
)

func TestGuestbook(t *testing.T) {
	p := newProject(t, "guestbook")
	page := address(8080, "/")

	p.must("up")
	p.serves(page, "Welcome to the guestbook", soon)
	p.serves(p.ingressURL("web"), "Welcome to the guestbook", soon)
	p.post(page, url.Values{"entry": {"hello from the test"}})
	p.serves(page, "hello from the test", soon)

	t.Run("a second up changes nothing", func(t *testing.T) {
		before := p.kubectl("get", "deploy,svc,ingress,pvc,cm,secret", "-n", p.name, "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}")
		p.must("up")
		after := p.kubectl("get", "deploy,svc,ingress,pvc,cm,secret", "-n", p.name, "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}")
		if before != after {
			t.Errorf("objects changed:\n%s\n%s", before, after)
		}
	})
	t.Run("an edit is served under dev", func(t *testing.T) {
		stop := p.dev()
		p.serves(page, "Welcome to the guestbook", rollout)
		p.edit("web/main.go", "Welcome to the guestbook", "Sign here, please")
		p.serves(page, "Sign here, please", rollout)
		stop()
		p.serves(page, "hello from the test", soon)
	})
	t.Run("scale", func(t *testing.T) {
		p.must("scale", "web=3")
		p.eventually(rollout, "three web pods", func() error { return p.ready("web", 3) })
	})
	t.Run("a killed pod heals", func(t *testing.T) {
		pods, err := p.pods("web")
		if err != nil || len(pods) == 0 {
			t.Fatalf("pods of web: %v, %v", pods, err)
		}
		p.kubectl("delete", "pod", "-n", p.name, pods[0].Name, "--wait=false")
		p.eventually(rollout, "a new pod", func() error {
			now, err := p.pods("web")
			if err != nil {
				return err
			}
			for _, x := range now {
				if x.Name == pods[0].Name {
					return fmt.Errorf("%s is still there", x.Name)
				}
			}
			return p.ready("web", 3)
		})
		p.serves(page, "hello from the test", soon)
	})
	t.Run("a stopped worker's pods move", p.stopWorker)
	t.Run("down and up keep the data", func(t *testing.T) {
		p.must("down")
		p.must("up")
		p.serves(page, "hello from the test", soon)
	})
	t.Run("down with volumes leaves nothing", func(*testing.T) {
		p.must("down", "--volumes", "--rmi", "local")
		p.leavesNothing(hostPort(8080))
	})
}

// stopWorker stops a worker that holds no volume of the project: its pods must
// run elsewhere, and the page must answer all the while it can.
func (p *project) stopWorker(t *testing.T) {
	redis, err := p.pods("redis")
	if err != nil || len(redis) != 1 {
		t.Fatalf("pods of redis: %v, %v", redis, err)
	}
	worker := p.cluster + "-worker"
	if redis[0].Node == worker {
		worker = p.cluster + "-worker2"
	}
	p.must("cluster", "node", "stop", worker, "--name", p.cluster)
	t.Cleanup(func() {
		p.must("cluster", "node", "start", worker, "--name", p.cluster)
	})
	p.eventually(moved+30*time.Second, "web away from "+worker, func() error {
		pods, err := p.pods("web")
		if err != nil {
			return err
		}
		running := 0
		for _, x := range pods {
			if x.Node != worker && x.State == "running" && x.Health != "unhealthy" {
				running++
			}
		}
		if running < 3 {
			return fmt.Errorf("%d of 3 run elsewhere: %v", running, pods)
		}
		return nil
	})
	p.serves(address(8080, "/"), "hello from the test", soon)
}

func TestVote(t *testing.T) {
	p := newProject(t, "vote")
	vote, result := address(5000, "/"), address(5001, "/")

	p.must("up")
	p.serves(vote, "Which do you like better?", soon)
	p.serves(p.ingressURL("result"), "The result so far", soon)
	p.post(vote, url.Values{"vote": {"a"}})
	p.serves(result+"api/result", `"a":1`, soon)

	t.Run("an edit of interpreted code is served under dev", func(*testing.T) {
		stop := p.dev()
		p.serves(vote, "Which do you like better?", rollout)
		p.edit("vote/app.py", "Which do you like better?", "Cats or dogs, honestly?")
		p.serves(vote, "Cats or dogs, honestly?", rollout)
		stop()
	})
	t.Run("logs of several services", func(t *testing.T) {
		logs := p.must("logs", "--tail", "50", "worker", "result")
		for _, want := range []string{"worker is connected", "result listens"} {
			if !strings.Contains(logs, want) {
				t.Errorf("logs lack %q:\n%s", want, logs)
			}
		}
	})
	t.Run("down and up keep the votes", func(*testing.T) {
		p.must("down")
		p.must("up")
		p.serves(result+"api/result", `"a":1`, soon)
	})
	p.must("down", "--volumes", "--rmi", "local")
	p.leavesNothing(hostPort(5000), hostPort(5001))
}

func TestShop(t *testing.T) {
	p := newProject(t, "shop")
	page := address(8000, "/")

	p.must("up")
	p.serves(page, "The shelves are empty", soon)
	p.serves(page+"static/catalog/style.css", "system-ui", soon)
	p.serves(p.ingressURL("front"), "Everything for your berth", soon)

	t.Run("a service of another profile runs when it is named", func(*testing.T) {
		p.must("--profile", "tools", "up", "seed")
		p.serves(page+"api/products", "Bollard", soon)
	})
	t.Run("down and up keep the data and migrate again", func(*testing.T) {
		p.must("down")
		p.must("up")
		p.serves(page+"api/products", "Bollard", soon)
	})
	p.must("down", "--volumes", "--rmi", "local")
	p.leavesNothing(hostPort(8000))
}

// post sends a form as a browser would.
func (p *project) post(target string, form url.Values) {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	client := *p.http
	client.Jar = jar
	response, err := client.Post(target, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var body bytes.Buffer
		_, _ = bufio.NewReader(response.Body).WriteTo(&body)
		p.t.Fatalf("POST %s: %s: %s", target, response.Status, body.String())
	}
}

// ready checks that a service has n pods, all healthy.
func (p *project) ready(service string, n int) error {
	pods, err := p.pods(service)
	if err != nil {
		return err
	}
	healthy := 0
	for _, x := range pods {
		if x.State == "running" && (x.Health == "healthy" || x.Health == "") {
			healthy++
		}
	}
	if healthy != n {
		return fmt.Errorf("%d of %d are ready: %v", healthy, n, pods)
	}
	return nil
}
