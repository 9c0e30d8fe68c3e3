/*
 * Between the relay, which turns what happens in a session into events and
 * commands into what shall happen, and the transports, which carry batches of
 * them.
 *
 *     session -> ops -> output -> transport -> worker         (events)
 *     worker -> transport -> input() -> session               (commands)
 *
 * Events are written in their final form into one buffer per session, frame
 * behind frame.  Streams are read only if the buffer has room, so a worker
 * that does not read stops its clients through QUIC's flow control.
 */


#ifndef _NGX_HTTP_WT_RELAY_H_INCLUDED_
#define _NGX_HTTP_WT_RELAY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_context.h>
#include <ngx_http_wt_datagram.h>
#include <ngx_http_wt_framing.h>
#include <ngx_http_wt_msg.h>
#include <ngx_http_wt_session.h>
#include <ngx_http_wt_stream.h>


/* the longest batch of events, except one of a longer message */
#define NGX_HTTP_WT_RELAY_FRAME     65536

/* at least this many bytes of commands are read as one frame */
#define NGX_HTTP_WT_RELAY_COMMAND   65536

/* room in the output buffer that no payload may use */
#define NGX_HTTP_WT_RELAY_RESERVE   1024

/* the longest Result: its message is one of ours */
#define NGX_HTTP_WT_RELAY_RESULT    (NGX_HTTP_WT_MSG_EVENT_MAX + 128)

/* streams that have ended, but whose events wait for room or credit */
#define NGX_HTTP_WT_RELAY_GONE      1024


/*
 * A stream's part of the relay, on the heap: it may have something to tell
 * when the stream itself is gone.  Owned by its session's backend, freed by
 * ngx_http_wt_relay_free_stream() only.
 */

typedef struct {
    ngx_queue_t                queue;        /* backend->streams */
    ngx_queue_t                ready;        /* backend->ready, if queued */

    ngx_http_wt_stream_t      *stream;       /* NULL when it is gone */
    uint64_t                   id;

    ngx_uint_t                 framing;
    ngx_http_wt_framing_t      input;

    /* client to worker: bytes that the worker still takes */
    int64_t                    credit;

    /* worker to client: bytes that came, and that it was allowed */
    uint64_t                   received;
    uint64_t                   granted;

    uint32_t                   reset_code;
    uint32_t                   stop_code;

    unsigned                   queued:1;
    unsigned                   announced:1;  /* the worker knows of it */
    unsigned                   readable:1;
    unsigned                   eof:1;        /* FIN was read */
    unsigned                   fin:1;        /* and told, or never will be */
    unsigned                   reset:1;      /* to be told, with its code */
    unsigned                   reset_app:1;
    unsigned                   stop:1;       /* likewise */
    unsigned                   stop_app:1;
    unsigned                   finished:1;   /* by the worker: FIN or reset */
    unsigned                   gone:1;
} ngx_http_wt_relay_stream_t;


/*
 * Events to be sent.  The buffer is on the heap, and only there while it has
 * something in it.
 *
 *     start    pos          frame        last       end
 *     | sent   | frames ... | frame ...  | room     | reserve |
 */

typedef struct {
    u_char                    *start;
    u_char                    *pos;
    u_char                    *last;
    u_char                    *end;
    u_char                    *frame;        /* being written, or NULL */
} ngx_http_wt_output_t;


/*
 * The peer of one session, in the request's pool.  Begins with connect() of
 * the peer ops and ends with their closed(), in which all that is not in the
 * pool is freed or handed to the transport's close().
 */

struct ngx_http_wt_backend_s {
    ngx_http_request_t        *request;
    ngx_http_wt_backend_conf_t
                              *conf;
    ngx_http_wt_session_t     *session;      /* NULL after its end */
    void                      *link;         /* of the transport's */

    /* events */
    ngx_http_wt_output_t       out;
    ngx_event_t                event;        /* posted: something to write */
    ngx_queue_t                streams;
    ngx_queue_t                ready;
    ngx_uint_t                 ngone;
    ngx_http_wt_datagram_queue_t
                               datagrams;

    /* offered by the client, or NULL */
    ngx_array_t               *protocols;

    /* streams the worker was allowed to open, and those it did: bidi, uni */
    uint64_t                   allowed[2];
    uint64_t                   opened[2];

    /* commands: of the current batch those that have been run, and all */
    ngx_uint_t                 done;
    ngx_uint_t                 ncommands;
    ngx_http_wt_relay_stream_t
                              *blocked;      /* has no room for more */
    ngx_http_wt_relay_stream_t
                              *push;

    /* a Result to be told */
    uint64_t                   result_id;
    uint64_t                   result_stream;
    ngx_uint_t                 result_status;
    const char                *result_message;

    ngx_http_wt_context_t      context;

    /* of Accept, or else of the configuration */
    ngx_uint_t                 framing;
    ngx_uint_t                 overflow;
    ngx_uint_t                 notify;
    uint32_t                   window;       /* 0: no credit */

    /* why the session has to end, found where it must not */
    const char                *failure;

    ngx_event_t                timer;        /* Accept, then liveness */
    ngx_msec_t                 heard;
    uint64_t                   pings;

    unsigned                   connected:1;  /* the worker got a Connect */
    unsigned                   accepted:1;
    unsigned                   lost:1;       /* without a good answer */
    unsigned                   closing:1;    /* by the worker: flushing */
    unsigned                   stalled:1;    /* commands wait */
    unsigned                   pinged:1;
    unsigned                   push_opened:1;
    unsigned                   drain:1;      /* events to be told */
    unsigned                   opens:1;
    unsigned                   result:1;
    unsigned                   writing:1;
};


/*
 * Carries batches.  A transport's part of a session begins with connect() and
 * ends with close(); after this no call of the relay comes, and none must be
 * made.
 */

struct ngx_http_wt_transport_s {
    ngx_str_t                  name;

    /*
     * Set if a worker answers batches and says nothing else: then it is not
     * asked whether it is alive, and the transport itself says in front of
     * each batch whose it is (ngx_http_wt_context_batch()).
     */
    ngx_uint_t                 batches;

    /* what stands in front of a batch, and writes it */
    size_t                     header;
    void                     (*frame)(u_char *p, size_t len);

    /*
     * Finds a worker, now or later: ngx_http_wt_relay_connected() or
     * _failed().  NGX_OK, or NGX_ERROR for want of memory.
     */
    ngx_int_t                (*connect)(ngx_http_wt_backend_t *b);

    /*
     * Sends from b->out.pos to b->out.last, complete frames, and moves "pos".
     * NGX_OK: all is gone, NGX_AGAIN: ngx_http_wt_relay_write() will be
     * called.  Failures are told later.
     */
    ngx_int_t                (*send)(ngx_http_wt_backend_t *b);

    /*
     * NULL: datagrams are events among others.  Else they are not part of the
     * output; there are some in b->datagrams, and
     * ngx_http_wt_event_take_datagrams() gets them.
     */
    void                     (*datagrams)(ngx_http_wt_backend_t *b);

    /*
     * A batch that ngx_http_wt_relay_input() did not want can be given to it
     * again, soon but not from within this call.
     */
    void                     (*resume)(ngx_http_wt_backend_t *b);

    /*
     * The session is over.  What is in b->out, the last event included, is
     * delivered if the worker takes it; a transport that keeps the buffer, or
     * b->context, zeroes them.
     */
    void                     (*close)(ngx_http_wt_backend_t *b);
};


/* for transports */

/* The worker can be talked to. */
void ngx_http_wt_relay_connected(ngx_http_wt_backend_t *b);

/*
 * There is no worker, or it is lost: "status" for the client that has no
 * answer yet, "reason" for one that has, and for the log.  The session is
 * over on return, unless its end had begun.
 */
void ngx_http_wt_relay_failed(ngx_http_wt_backend_t *b, ngx_uint_t status,
    const char *reason);

/* The same for any other cause; "by" is also the code. */
void ngx_http_wt_relay_end(ngx_http_wt_backend_t *b, ngx_http_wt_by_e by,
    ngx_uint_t status, const char *reason);

/*
 * The worker has ended the session itself, but not by a command: as
 * ngx_http_wt_relay_end(), with "text" for the log only.
 */
void ngx_http_wt_relay_left(ngx_http_wt_backend_t *b, ngx_http_wt_by_e by,
    ngx_uint_t status, const char *reason, ngx_str_t *text);

/* The worker does not keep to the contract: the session is over on return. */
void ngx_http_wt_relay_violation(ngx_http_wt_backend_t *b, const char *fmt,
    ...);

/*
 * A CommandBatch.  NGX_OK; NGX_AGAIN: not all of it could be run, it has to be
 * given again after resume(); NGX_DONE: the session is over.
 */
ngx_int_t ngx_http_wt_relay_input(ngx_http_wt_backend_t *b, u_char *buf,
    size_t len);

/* The worker has sent something. */
void ngx_http_wt_relay_heard(ngx_http_wt_backend_t *b);

/* There is room to send again. */
void ngx_http_wt_relay_write(ngx_http_wt_backend_t *b);

/* The longest CommandBatch. */
size_t ngx_http_wt_relay_max_command(ngx_http_wt_backend_t *b);

/*
 * Datagrams that wait, as events: *buf is on the heap, the caller's.  Returns
 * their length, 0 if there are none or no memory.
 */
size_t ngx_http_wt_event_take_datagrams(ngx_http_wt_backend_t *b,
    u_char **buf);


/* within the relay: events */

/*
 * Where an event of "len" bytes can be written, or NULL if it has to wait.
 * Events with payload leave the reserve to those without.
 */
u_char *ngx_http_wt_event_room(ngx_http_wt_backend_t *b, size_t len,
    ngx_uint_t payload);

/* Bytes that an event with payload may take at "p". */
size_t ngx_http_wt_event_left(ngx_http_wt_backend_t *b, u_char *p);

/* What ends at "p" is part of the output; it will be sent. */
void ngx_http_wt_event_done(ngx_http_wt_backend_t *b, u_char *p);

/*
 * Where an event of "len" bytes, which may be longer than the output buffer,
 * can be written, or NULL if it has to wait.
 */
u_char *ngx_http_wt_event_long(ngx_http_wt_backend_t *b, size_t len);

/* The Result in "b".  NGX_OK, or NGX_AGAIN if it has to wait. */
ngx_int_t ngx_http_wt_event_result(ngx_http_wt_backend_t *b);

/* The last event.  NGX_ERROR without memory. */
ngx_int_t ngx_http_wt_event_closed(ngx_http_wt_backend_t *b);

/* A datagram of the client, as of ops->datagram(). */
ngx_int_t ngx_http_wt_event_datagram(ngx_http_wt_backend_t *b, u_char *data,
    size_t len);

void ngx_http_wt_event_free(ngx_http_wt_backend_t *b);

/* Something waits to be told. */
void ngx_http_wt_event_post(ngx_http_wt_backend_t *b);


/* within the relay: its streams */

ngx_http_wt_relay_stream_t *ngx_http_wt_relay_add_stream(
    ngx_http_wt_backend_t *b, ngx_http_wt_stream_t *ws);
void ngx_http_wt_relay_free_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);

/* The stream has something to tell, or may have. */
void ngx_http_wt_relay_queue(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);

/*
 * Writes what the stream has to tell.  NGX_OK: that was all, and "bs" may be
 * gone; NGX_BUSY: it was enough for this turn; NGX_AGAIN: there is no room;
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_relay_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);

/* Bytes of credit that the worker shall be told of; 0: not now. */
size_t ngx_http_wt_relay_credit(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);

/* The stream has room again, or is over: commands go on if they waited. */
void ngx_http_wt_relay_unblock(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);


/* within the relay: commands */

/* NGX_OK, or NGX_DONE if the session has ended. */
ngx_int_t ngx_http_wt_command_accept(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
ngx_int_t ngx_http_wt_command_reject(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);

/*
 * Answers a command if it has to be answered, with a constant text.  Once at
 * most for each; NGX_OK.
 */
ngx_int_t ngx_http_wt_command_result(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, ngx_uint_t status, const char *message,
    uint64_t stream_id);

#define ngx_http_wt_command_ok(b, cmd, stream_id)                             \
    ngx_http_wt_command_result(b, cmd, NGX_HTTP_WT_RESULT_OK, "", stream_id)


/* within the relay: the beginning of a session */

/* Writes the Connect event.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_wt_relay_connect(ngx_http_wt_backend_t *b);

/* The worker has accepted, and the session's part is done. */
void ngx_http_wt_relay_accepted(ngx_http_wt_backend_t *b);


#endif /* _NGX_HTTP_WT_RELAY_H_INCLUDED_ */
