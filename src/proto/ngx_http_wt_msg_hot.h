
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_MSG_HOT_H_INCLUDED_
#define _NGX_HTTP_WT_MSG_HOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_msg.h>


/*
 * The two commands that come by the thousand, StreamData and Datagram: nanopb
 * interprets descriptors, and that was most of what relaying a small message
 * cost nginx itself.
 *
 * Parses the command at "p" in a CommandBatch that ends at *end, if there is
 * nothing about it but known fields in the way encoders write them: NGX_OK,
 * with *cmd as nanopb would have filled it, and *end behind the command.
 *
 * NGX_DECLINED: what is between "p" and *end is for nanopb, be it another
 * command or all of the batch.  Nothing is said about its being valid.
 */
ngx_int_t ngx_http_wt_msg_hot_command(u_char *p, u_char **end,
    ngx_http_wt_command_t *cmd);


#endif /* _NGX_HTTP_WT_MSG_HOT_H_INCLUDED_ */
