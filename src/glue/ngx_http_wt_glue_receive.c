/*
 * Receiving packets: several in each turn of the event loop.
 *
 * nginx takes one packet from a QUIC listening socket, and returns to the
 * event loop.  What it owes for a packet (acknowledgements, stream data,
 * our datagrams) waits in posted events, so each packet pays for a turn of the
 * loop, and nothing can be sent together.  Here the read event handler of the
 * listening socket takes a limited number of packets, with recvmmsg(), and
 * lets the kernel join packets of a client that arrive together (UDP_GRO).
 *
 * The number is a compromise: what is sent in answer waits for the last of
 * them, and so do all other events.  Packets that the kernel has joined to
 * those that are due are kept for the next turn.
 */


#include <ngx_http_wt_glue_internal.h>


#if (NGX_HTTP_WT_HAVE_RECEIVE)


/* messages of a system call */
#define NGX_HTTP_WT_GLUE_MESSAGES      16

/*
 * The longest message, and something more: buffers whose distance is a power
 * of two would compete for the same lines of the processor's cache.
 */
#define NGX_HTTP_WT_GLUE_MESSAGE       65536
#define NGX_HTTP_WT_GLUE_STRIDE        (NGX_HTTP_WT_GLUE_MESSAGE + 2112)

/* what a new connection costs, in packets: a handshake, for the most part */
#define NGX_HTTP_WT_GLUE_ACCEPT_COST   4

/*
 * DATAGRAM frames of a turn: queues are emptied at its end, and no sender
 * should find them full only because many packets are handled together.
 */
#define NGX_HTTP_WT_GLUE_DATAGRAMS     64


/* the local address, and the length of joined packets */
typedef union {
    struct cmsghdr             align;
    u_char                     buf[CMSG_SPACE(sizeof(ngx_addrinfo_t))
                                   + CMSG_SPACE(sizeof(int))];
} ngx_http_wt_glue_control_buf_t;


/*
 * A listening socket as one process reads it.  Lives as long as the cycle:
 * nginx closes QUIC listening sockets only by exiting.
 */

typedef struct {
    ngx_connection_t          *connection;
    ngx_uint_t                 batch;

    ngx_event_t                more;         /* packets are left */

    /* packets that have been received, and how many of them are handled */
    ngx_uint_t                 count;
    ngx_uint_t                 current;
    size_t                     offset;

    /* of the current message */
    size_t                     segment;
    struct sockaddr           *local;
    ngx_sockaddr_t             local_buf;

    /* packets of the last messages, to guess how many the next ones have */
    ngx_uint_t                 packets;

    unsigned                   drained:1;    /* nothing was left to receive */
    unsigned                   full:1;       /* no connection is free */

    struct mmsghdr             messages[NGX_HTTP_WT_GLUE_MESSAGES];
    struct iovec               iovs[NGX_HTTP_WT_GLUE_MESSAGES];
    ngx_sockaddr_t             peers[NGX_HTTP_WT_GLUE_MESSAGES];
    ngx_http_wt_glue_control_buf_t
                               controls[NGX_HTTP_WT_GLUE_MESSAGES];
    u_char                    *buffers;
} ngx_http_wt_glue_receiver_t;


/* what a cycle wants, until init_process; a cleanup of its pool has it too */

typedef struct {
    ngx_cycle_t               *cycle;
    ngx_uint_t                 batch;
    ngx_array_t                listenings;   /* of ngx_listening_t * */
} ngx_http_wt_glue_receive_cycle_t;


static ngx_uint_t ngx_http_wt_glue_receive_wanted(ngx_listening_t *ls);
static void ngx_http_wt_glue_receive_gro(ngx_cycle_t *cycle,
    ngx_listening_t *ls, ngx_uint_t wanted);
static ngx_uint_t ngx_http_wt_glue_receive_bpf(ngx_cycle_t *cycle,
    ngx_listening_t *ls);
static void ngx_http_wt_glue_receive_cleanup(void *data);
static ngx_int_t ngx_http_wt_glue_receiver_init(ngx_cycle_t *cycle,
    ngx_connection_t *lc, ngx_uint_t batch);
static void ngx_http_wt_glue_receive_handler(ngx_event_t *ev);
static void ngx_http_wt_glue_receive_more(ngx_event_t *ev);
static void ngx_http_wt_glue_receive_turn(ngx_http_wt_glue_receiver_t *r,
    ngx_uint_t receive);
static ngx_int_t ngx_http_wt_glue_receive_messages(
    ngx_http_wt_glue_receiver_t *r, ngx_uint_t budget);
static ngx_uint_t ngx_http_wt_glue_receive_packet(
    ngx_http_wt_glue_receiver_t *r);
static ngx_int_t ngx_http_wt_glue_receive_begin(
    ngx_http_wt_glue_receiver_t *r, struct mmsghdr *message);
static ngx_connection_t *ngx_http_wt_glue_receive_lookup(
    ngx_http_wt_glue_receiver_t *r, ngx_str_t *id);
static void ngx_http_wt_glue_receive_settle(ngx_connection_t *c);
static void ngx_http_wt_glue_receive_last_words(ngx_connection_t *c);
static void ngx_http_wt_glue_receive_input(ngx_connection_t *c, u_char *data,
    size_t len, struct msghdr *msg);
static void ngx_http_wt_glue_receive_accept(ngx_http_wt_glue_receiver_t *r,
    u_char *data, size_t len, struct msghdr *msg);
static ngx_int_t ngx_http_wt_glue_receive_connection(
    ngx_http_wt_glue_receiver_t *r, ngx_connection_t *c, u_char *data,
    size_t len, struct msghdr *msg);


/* the newest configuration, for init_module */
static ngx_http_wt_glue_receive_t  ngx_http_wt_glue_receive_conf;

/* its addresses with WebTransport, ngx_addr_t without a name */
static ngx_array_t  *ngx_http_wt_glue_receive_addrs;

/* the newest cycle */
static ngx_http_wt_glue_receive_cycle_t  *ngx_http_wt_glue_receive_cycle;


ngx_int_t
ngx_http_wt_glue_receive_postconfiguration(ngx_conf_t *cf,
    const ngx_http_wt_glue_receive_t *conf)
{
    ngx_addr_t                  *on;
    ngx_uint_t                   i, n, k;
    ngx_http_conf_addr_t        *addr;
    ngx_http_conf_port_t        *port;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_core_main_conf_t   *cmcf;

    ngx_http_wt_glue_receive_conf = *conf;

    ngx_http_wt_glue_receive_addrs = ngx_array_create(cf->pool, 4,
                                                      sizeof(ngx_addr_t));
    if (ngx_http_wt_glue_receive_addrs == NULL) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_OK;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (n = 0; n < port[i].addrs.nelts; n++) {

            if (!addr[n].opt.quic) {
                continue;
            }

            cscfp = addr[n].servers.elts;

            for (k = 0; k < addr[n].servers.nelts; k++) {
                if (ngx_http_wt_glue_ops->negotiate(cscfp[k]->ctx)) {
                    break;
                }
            }

            if (k == addr[n].servers.nelts) {
                continue;
            }

            on = ngx_array_push(ngx_http_wt_glue_receive_addrs);
            if (on == NULL) {
                return NGX_ERROR;
            }

            on->sockaddr = addr[n].opt.sockaddr;
            on->socklen = addr[n].opt.socklen;
        }
    }

    return NGX_OK;
}


/*
 * UDP_GRO belongs to the socket, and thus to all processes that read it: old
 * workers that end after a reload, and those of a binary that is being
 * replaced, go on reading QUIC sockets.  So it is for the master to switch it
 * on, only while nobody else can have the socket; and off, whenever there may
 * be readers that do not expect joined packets.
 */

ngx_int_t
ngx_http_wt_glue_receive_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                         i, wanted;
    ngx_listening_t                   *ls, **lsp;
    ngx_pool_cleanup_t                *cln;
    ngx_http_wt_glue_receive_cycle_t  *rc;

    cln = ngx_pool_cleanup_add(cycle->pool,
                               sizeof(ngx_http_wt_glue_receive_cycle_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    rc = cln->data;

    rc->cycle = cycle;
    rc->batch = ngx_http_wt_glue_receive_conf.batch;

    if (ngx_array_init(&rc->listenings, cycle->pool, 4,
                       sizeof(ngx_listening_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (!ls[i].quic) {
            continue;
        }

        wanted = ngx_http_wt_glue_receive_wanted(&ls[i]);

        if (!ngx_test_config) {
            ngx_http_wt_glue_receive_gro(cycle, &ls[i], wanted);
        }

        if (!wanted) {
            continue;
        }

        lsp = ngx_array_push(&rc->listenings);
        if (lsp == NULL) {
            return NGX_ERROR;
        }

        *lsp = &ls[i];
    }

    cln->handler = ngx_http_wt_glue_receive_cleanup;
    ngx_http_wt_glue_receive_cycle = rc;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_glue_receive_wanted(ngx_listening_t *ls)
{
    ngx_uint_t   i;
    ngx_addr_t  *addr;

    if (ngx_http_wt_glue_receive_conf.batch == 0
        || ls->handler != ngx_http_init_connection
        || ls->sockaddr->sa_family == AF_UNIX)
    {
        return 0;
    }

    addr = ngx_http_wt_glue_receive_addrs->elts;

    for (i = 0; i < ngx_http_wt_glue_receive_addrs->nelts; i++) {

        if (ngx_cmp_sockaddr(addr[i].sockaddr, addr[i].socklen,
                             ls->sockaddr, ls->socklen, 1)
            == NGX_OK)
        {
            return 1;
        }

        /* a wildcard may stand for other addresses of its port */

        if (ls->wildcard
            && addr[i].sockaddr->sa_family == ls->sockaddr->sa_family
            && ngx_inet_get_port(addr[i].sockaddr)
               == ngx_inet_get_port(ls->sockaddr))
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_wt_glue_receive_gro(ngx_cycle_t *cycle, ngx_listening_t *ls,
    ngx_uint_t wanted)
{
    int        value;
    socklen_t  len;

    value = wanted && ngx_http_wt_glue_receive_conf.gro
            && !ngx_http_wt_glue_receive_bpf(cycle, ls);

    if (value && (ls->previous || ls->inherited)) {

        len = sizeof(int);

        if (getsockopt(ls->fd, SOL_UDP, UDP_GRO, &value, &len) == 0
            && value == 0)
        {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "webtransport: packets on %V will be received one "
                          "by one until nginx is restarted, because the "
                          "socket is older than this configuration",
                          &ls->addr_text);
        }

        return;
    }

    if (setsockopt(ls->fd, SOL_UDP, UDP_GRO, &value, sizeof(int)) == -1
        && value)
    {
        ngx_log_error(NGX_LOG_INFO, cycle->log, ngx_socket_errno,
                      "setsockopt(UDP_GRO) %V failed, ignored",
                      &ls->addr_text);
    }
}


/*
 * With "quic_bpf on" the connection id of the first of the joined packets
 * chooses the process for all of them.  Others would answer packets of foreign
 * connections with a stateless reset, which the client has to believe.
 */

static ngx_uint_t
ngx_http_wt_glue_receive_bpf(ngx_cycle_t *cycle, ngx_listening_t *ls)
{
#if (NGX_QUIC_BPF)
    ngx_flag_t  *enabled;

    /* the first member of a private structure */

    enabled = (ngx_flag_t *) ngx_get_conf(cycle->conf_ctx,
                                          ngx_quic_bpf_module);

    return ls->reuseport && enabled && *enabled == 1;
#else
    return 0;
#endif
}


/*
 * The end of a cycle.  If it is still the newest one that the module has seen,
 * and its sockets remain, then a reload has removed the module.
 */

static void
ngx_http_wt_glue_receive_cleanup(void *data)
{
    ngx_http_wt_glue_receive_cycle_t *rc = data;

    int                value;
    ngx_uint_t         i;
    ngx_listening_t  **ls;

    if (ngx_http_wt_glue_receive_cycle != rc) {
        return;
    }

    ngx_http_wt_glue_receive_cycle = NULL;

    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_HELPER
        || rc->cycle->listening.nelts == 0)
    {
        return;
    }

    ls = rc->listenings.elts;

    for (i = 0; i < rc->listenings.nelts; i++) {

        if (ls[i]->remain) {
            value = 0;
            (void) setsockopt(ls[i]->fd, SOL_UDP, UDP_GRO, &value,
                              sizeof(int));
        }
    }
}


ngx_int_t
ngx_http_wt_glue_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                         i;
    ngx_listening_t                  **ls;
    ngx_connection_t                  *lc;
    ngx_http_wt_glue_receive_cycle_t  *rc;

    rc = ngx_http_wt_glue_receive_cycle;

    if (rc == NULL || rc->cycle != cycle || cycle->listening.nelts == 0) {
        return NGX_OK;
    }

    ls = rc->listenings.elts;

    for (i = 0; i < rc->listenings.nelts; i++) {

        lc = ls[i]->connection;

        /* sockets of other workers have none here */

        if (lc == NULL || lc->listening != ls[i]
            || lc->read->handler != ngx_quic_recvmsg)
        {
            continue;
        }

        if (ngx_http_wt_glue_receiver_init(cycle, lc, rc->batch) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_glue_receiver_init(ngx_cycle_t *cycle, ngx_connection_t *lc,
    ngx_uint_t batch)
{
    ngx_uint_t                    i;
    struct msghdr                *msg;
    ngx_http_wt_glue_receiver_t  *r;

    r = ngx_pcalloc(cycle->pool, sizeof(ngx_http_wt_glue_receiver_t));
    if (r == NULL) {
        return NGX_ERROR;
    }

    /* memory that no packet has needed is never touched */

    r->buffers = ngx_palloc(cycle->pool, NGX_HTTP_WT_GLUE_MESSAGES
                                         * NGX_HTTP_WT_GLUE_STRIDE);
    if (r->buffers == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_WT_GLUE_MESSAGES; i++) {
        r->iovs[i].iov_base = r->buffers + i * NGX_HTTP_WT_GLUE_STRIDE;
        r->iovs[i].iov_len = NGX_HTTP_WT_GLUE_MESSAGE;

        msg = &r->messages[i].msg_hdr;

        msg->msg_iov = &r->iovs[i];
        msg->msg_iovlen = 1;
        msg->msg_name = &r->peers[i];
        msg->msg_control = &r->controls[i];
    }

    r->connection = lc;
    r->batch = batch;

    r->more.log = lc->log;
    r->more.data = r;
    r->more.handler = ngx_http_wt_glue_receive_more;

    lc->data = r;
    lc->read->handler = ngx_http_wt_glue_receive_handler;

    return NGX_OK;
}


static void
ngx_http_wt_glue_receive_handler(ngx_event_t *ev)
{
    ngx_connection_t             *lc;
    ngx_http_wt_glue_receiver_t  *r;

    if (ev->timedout) {

        /* accepting was off for a while; nginx's own handlers do the same */

        if (ngx_enable_accept_events((ngx_cycle_t *) ngx_cycle) != NGX_OK) {
            return;
        }

        ev->timedout = 0;
    }

    ev->ready = 0;

    lc = ev->data;
    r = lc->data;

    if (r->current == r->count) {
        ngx_http_wt_glue_receive_turn(r, 1);
    }

    /* otherwise what is left has its turn, and the socket stays readable */
}


static void
ngx_http_wt_glue_receive_more(ngx_event_t *ev)
{
    ngx_http_wt_glue_receive_turn(ev->data, 0);
}


static void
ngx_http_wt_glue_receive_turn(ngx_http_wt_glue_receiver_t *r,
    ngx_uint_t receive)
{
    ngx_uint_t  budget, cost;

    budget = r->batch;

    r->full = 0;
    ngx_http_wt_glue_datagrams = 0;

    for ( ;; ) {

        if (r->current == r->count) {

            if (!receive
                || ngx_http_wt_glue_receive_messages(r, budget) != NGX_OK)
            {
                return;
            }

            /* a short answer is the end: it saves asking for NGX_EAGAIN */
            receive = !r->drained;
        }

        cost = ngx_http_wt_glue_receive_packet(r);

        if (cost >= budget
            || ngx_http_wt_glue_datagrams >= NGX_HTTP_WT_GLUE_DATAGRAMS)
        {
            break;
        }

        budget -= cost;
    }

    if (r->current != r->count) {
        ngx_post_event(&r->more, &ngx_posted_next_events);
    }
}


static ngx_int_t
ngx_http_wt_glue_receive_messages(ngx_http_wt_glue_receiver_t *r,
    ngx_uint_t budget)
{
    int                n;
    ngx_err_t          err;
    ngx_uint_t         i, wanted, joined;
    struct msghdr     *msg;
    ngx_connection_t  *lc;

    lc = r->connection;

    /* as many as are due, if they are like the last ones */

    joined = r->count ? (r->packets + r->count - 1) / r->count : 1;

    wanted = ngx_min(budget / ngx_max(joined, 1), NGX_HTTP_WT_GLUE_MESSAGES);
    wanted = ngx_max(wanted, 1);

    for (i = 0; i < wanted; i++) {
        msg = &r->messages[i].msg_hdr;

        msg->msg_namelen = sizeof(ngx_sockaddr_t);
        msg->msg_controllen = sizeof(ngx_http_wt_glue_control_buf_t);
    }

    r->current = 0;
    r->count = 0;

    n = recvmmsg(lc->fd, r->messages, wanted, 0, NULL);

    if (n == -1) {
        err = ngx_socket_errno;

        if (err == NGX_EAGAIN) {
            ngx_log_debug0(NGX_LOG_DEBUG_EVENT, lc->log, err,
                           "webtransport: recvmmsg() not ready");

        } else {
            ngx_log_error(NGX_LOG_ALERT, lc->log, err, "recvmmsg() failed");
        }

        return NGX_AGAIN;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, lc->log, 0,
                   "webtransport: %d of %ui messages received", n, wanted);

    r->count = n;
    r->packets = 0;
    r->drained = ((ngx_uint_t) n < wanted);

    return n ? NGX_OK : NGX_AGAIN;
}


/* handles the next packet, and returns what that costs */

static ngx_uint_t
ngx_http_wt_glue_receive_packet(ngx_http_wt_glue_receiver_t *r)
{
    size_t             len;
    u_char            *data;
    ngx_str_t          id;
    struct mmsghdr    *message;
    ngx_connection_t  *c;

    message = &r->messages[r->current];

    if (r->offset == 0
        && ngx_http_wt_glue_receive_begin(r, message) != NGX_OK)
    {
        r->current++;
        return 1;
    }

    data = (u_char *) message->msg_hdr.msg_iov->iov_base + r->offset;
    len = ngx_min(r->segment, message->msg_len - r->offset);

    r->offset += len;

    if (r->offset == message->msg_len) {
        r->offset = 0;
        r->current++;
    }

    if (ngx_quic_get_packet_dcid(r->connection->log, data, len, &id)
        != NGX_OK)
    {
        return 1;
    }

    c = ngx_http_wt_glue_receive_lookup(r, &id);

    if (c) {
        if (ngx_quic_get_connection(c)->key_update.posted) {
            ngx_http_wt_glue_receive_settle(c);

            c = ngx_http_wt_glue_receive_lookup(r, &id);
        }

        /* one that is about to be closed would forget with which error */

        if (c && !ngx_quic_get_connection(c)->close.posted) {
            ngx_http_wt_glue_receive_input(c, data, len, &message->msg_hdr);
        }

        return 1;
    }

    ngx_http_wt_glue_receive_accept(r, data, len, &message->msg_hdr);

    return NGX_HTTP_WT_GLUE_ACCEPT_COST;
}


/* NGX_DECLINED if there is nothing in the message */

static ngx_int_t
ngx_http_wt_glue_receive_begin(ngx_http_wt_glue_receiver_t *r,
    struct mmsghdr *message)
{
    int               segment;
    struct msghdr    *msg;
    struct cmsghdr   *cmsg;
    ngx_listening_t  *ls;

    msg = &message->msg_hdr;
    ls = r->connection->listening;

    if (msg->msg_flags & (MSG_TRUNC|MSG_CTRUNC)) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "recvmmsg() truncated data");
        return NGX_DECLINED;
    }

    if (message->msg_len == 0) {
        return NGX_DECLINED;
    }

    r->segment = message->msg_len;
    r->local = ls->sockaddr;

    if (ls->wildcard) {
        ngx_memcpy(&r->local_buf, ls->sockaddr, ls->socklen);
        r->local = &r->local_buf.sockaddr;
    }

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO) {
            ngx_memcpy(&segment, CMSG_DATA(cmsg), sizeof(int));

            if (segment > 0) {
                r->segment = segment;
            }

        } else if (ls->wildcard) {
            (void) ngx_get_srcaddr_cmsg(cmsg, r->local);
        }
    }

    r->packets += (message->msg_len + r->segment - 1) / r->segment;

    return NGX_OK;
}


/*
 * The connection with this id.  nginx has ids in the tree that it uses for UDP
 * in general: by checksum, then by bytes, then by local address.
 */

static ngx_connection_t *
ngx_http_wt_glue_receive_lookup(ngx_http_wt_glue_receiver_t *r, ngx_str_t *id)
{
    uint32_t               hash;
    ngx_int_t              rc;
    ngx_listening_t       *ls;
    ngx_connection_t      *c;
    ngx_rbtree_node_t     *node;
    ngx_udp_connection_t  *udp;

    if (id->len == 0) {
        return NULL;
    }

    ls = r->connection->listening;
    hash = ngx_crc32_long(id->data, id->len);

    for (node = ls->rbtree.root;
         node != ls->rbtree.sentinel;
         node = (rc < 0) ? node->left : node->right)
    {
        if (hash != node->key) {
            rc = (hash < node->key) ? -1 : 1;
            continue;
        }

        udp = (ngx_udp_connection_t *) node;
        c = udp->connection;

        rc = ngx_memn2cmp(id->data, udp->key.data, id->len, udp->key.len);

        if (rc == 0 && ls->wildcard) {
            rc = ngx_cmp_sockaddr(r->local, ls->socklen, c->local_sockaddr,
                                  c->local_socklen, 1);
        }

        if (rc == 0) {

            /* the socket of nginx's that this id stands for */
            c->udp = udp;

            return c;
        }
    }

    return NULL;
}


/*
 * nginx expects a turn of the event loop between two packets: after a key
 * update the next keys are missing until they have been made.  The connection
 * may be gone on return.
 */

static void
ngx_http_wt_glue_receive_settle(ngx_connection_t *c)
{
    ngx_event_t  *ev;

    ev = &ngx_quic_get_connection(c)->key_update;

    ngx_delete_posted_event(ev);

    ev->handler(ev);
}


/*
 * The client's CONNECTION_CLOSE ends all streams from a posted event.  Those
 * that got their last bytes in the same turn are to be read first, and what
 * they post in turn.
 */

static void
ngx_http_wt_glue_receive_last_words(ngx_connection_t *c)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    if (qc->draining && !qc->closing && qc->close.posted) {
        ngx_delete_posted_event(&qc->close);
        ngx_post_event(&qc->close, &ngx_posted_next_events);
    }
}


static void
ngx_http_wt_glue_receive_input(ngx_connection_t *c, u_char *data, size_t len,
    struct msghdr *msg)
{
    ngx_buf_t           buf;
    ngx_event_t        *rev;
    ngx_atomic_uint_t   number;
    ngx_quic_socket_t  *qsock;

    ngx_memzero(&buf, sizeof(ngx_buf_t));

    buf.start = data;
    buf.pos = data;
    buf.last = data + len;
    buf.end = buf.last;

    /* QUIC's paths are made from this */

    qsock = ngx_quic_get_socket(c);

    qsock->socklen = ngx_min(msg->msg_namelen, sizeof(ngx_sockaddr_t));
    ngx_memcpy(&qsock->sockaddr, msg->msg_name, qsock->socklen);

    c->udp->buffer = &buf;

    number = c->number;
    rev = c->read;

    rev->ready = 1;
    rev->active = 0;

    rev->handler(rev);

    /* the slot of a connection that was closed may have another one */

    if (c->udp == NULL || c->number != number) {
        return;
    }

    ngx_http_wt_glue_receive_last_words(c);

    c->udp->buffer = NULL;

    rev->ready = 0;
    rev->active = 1;
}


/*
 * A packet of no connection: nginx makes one for it, even if only to send a
 * stateless reset or a version negotiation.
 */

static void
ngx_http_wt_glue_receive_accept(ngx_http_wt_glue_receiver_t *r, u_char *data,
    size_t len, struct msghdr *msg)
{
    ngx_listening_t   *ls;
    ngx_connection_t  *c, *lc;

    lc = r->connection;
    ls = lc->listening;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_accepted, 1);
#endif

    if (r->full) {
        /* it has been logged in this turn */
        return;
    }

    ngx_accept_disabled = ngx_cycle->connection_n / 8
                          - ngx_cycle->free_connection_n;

    c = ngx_get_connection(lc->fd, lc->log);

    if (c == NULL) {
        r->full = 1;
        return;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->shared = 1;
    c->type = SOCK_DGRAM;
    c->listening = ls;

    if (ngx_http_wt_glue_receive_connection(r, c, data, len, msg) != NGX_OK) {

        /* not ngx_close_connection(): the descriptor is not its own */

        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;

        if (c->pool) {
            ngx_destroy_pool(c->pool);
        }

#if (NGX_STAT_STUB)
        (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif
        return;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_handled, 1);
#endif

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "*%uA webtransport: packet of a new connection from %V, "
                   "%uz bytes", c->number, &c->addr_text, len);

    ls->handler(c);
}


/* what ls->handler may expect of a connection */

static ngx_int_t
ngx_http_wt_glue_receive_connection(ngx_http_wt_glue_receiver_t *r,
    ngx_connection_t *c, u_char *data, size_t len, struct msghdr *msg)
{
    ngx_log_t        *log;
    ngx_listening_t  *ls;

    ls = c->listening;

    c->pool = ngx_create_pool(ls->pool_size, r->connection->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    log = ngx_palloc(c->pool, sizeof(ngx_log_t));
    if (log == NULL) {
        return NGX_ERROR;
    }

    *log = ls->log;
    log->data = NULL;
    log->handler = NULL;

    c->log = log;
    c->pool->log = log;
    c->read->log = log;
    c->write->log = log;

    c->socklen = ngx_min(msg->msg_namelen, sizeof(ngx_sockaddr_t));

    c->sockaddr = ngx_palloc(c->pool, NGX_SOCKADDRLEN);
    if (c->sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, msg->msg_name, c->socklen);

    c->local_sockaddr = ls->sockaddr;
    c->local_socklen = ls->socklen;

    if (ls->wildcard) {
        c->local_sockaddr = ngx_palloc(c->pool, sizeof(ngx_sockaddr_t));
        if (c->local_sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(c->local_sockaddr, r->local, ls->socklen);
    }

    c->buffer = ngx_create_temp_buf(c->pool, len);
    if (c->buffer == NULL) {
        return NGX_ERROR;
    }

    c->buffer->last = ngx_cpymem(c->buffer->pos, data, len);

    if (ls->addr_ntop) {
        c->addr_text.data = ngx_pnalloc(c->pool, ls->addr_text_max_len);
        if (c->addr_text.data == NULL) {
            return NGX_ERROR;
        }

        c->addr_text.len = ngx_sock_ntop(c->sockaddr, c->socklen,
                                         c->addr_text.data,
                                         ls->addr_text_max_len, 0);
        if (c->addr_text.len == 0) {
            return NGX_ERROR;
        }
    }

    c->read->active = 1;
    c->write->ready = 1;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

#if (NGX_DEBUG)
    ngx_debug_accepted_connection(ngx_event_get_conf(ngx_cycle->conf_ctx,
                                                     ngx_event_core_module),
                                  c);
#endif

    return NGX_OK;
}


#else


ngx_int_t
ngx_http_wt_glue_receive_postconfiguration(ngx_conf_t *cf,
    const ngx_http_wt_glue_receive_t *conf)
{
    return NGX_OK;
}


ngx_int_t
ngx_http_wt_glue_receive_init_module(ngx_cycle_t *cycle)
{
    return NGX_OK;
}


ngx_int_t
ngx_http_wt_glue_init_process(ngx_cycle_t *cycle)
{
    return NGX_OK;
}


#endif
