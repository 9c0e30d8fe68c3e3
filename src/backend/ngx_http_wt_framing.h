/*
 * Message boundaries on byte streams: puts the messages of a client's stream
 * together, and says what surrounds a message on the way to the client.
 */


#ifndef _NGX_HTTP_WT_FRAMING_H_INCLUDED_
#define _NGX_HTTP_WT_FRAMING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_msg.h>


/* bytes in front of a message with NGX_HTTP_WT_FRAMING_U32 */
#define NGX_HTTP_WT_FRAMING_U32_LEN  4


/*
 * Bytes of a stream that are not yet messages, on the heap; part of its owner,
 * which must call ngx_http_wt_framing_free().  Not used with
 * NGX_HTTP_WT_FRAMING_RAW.
 */

typedef struct {
    u_char                   *start;
    u_char                   *pos;
    u_char                   *last;
    u_char                   *end;
    size_t                    scanned;     /* from pos on, without a LF */
} ngx_http_wt_framing_t;


/*
 * Makes room for more bytes behind f->last; a buffer grows with what it holds,
 * up to what the longest message needs.  NGX_OK, or NGX_ERROR without memory.
 * To be called only after ngx_http_wt_framing_next() wanted more bytes.
 */
ngx_int_t ngx_http_wt_framing_room(ngx_http_wt_framing_t *f,
    ngx_uint_t framing, size_t max, ngx_log_t *log);

/*
 * Finds the next message; "eof" is set if no more bytes will come.
 *
 *     NGX_OK        *msg is it, until ngx_http_wt_framing_consume()
 *     NGX_AGAIN     more bytes are needed, or, with eof, there are none left
 *     NGX_DECLINED  a message of more than "max" bytes
 *     NGX_ERROR     the stream has ended inside of a message
 */
ngx_int_t ngx_http_wt_framing_next(ngx_http_wt_framing_t *f,
    ngx_uint_t framing, size_t max, ngx_uint_t eof, ngx_str_t *msg);

/* Removes the message that was found. */
void ngx_http_wt_framing_consume(ngx_http_wt_framing_t *f,
    ngx_uint_t framing, ngx_str_t *msg);

/* Frees the buffer if it is empty. */
void ngx_http_wt_framing_trim(ngx_http_wt_framing_t *f);

void ngx_http_wt_framing_free(ngx_http_wt_framing_t *f);


#endif /* _NGX_HTTP_WT_FRAMING_H_INCLUDED_ */
