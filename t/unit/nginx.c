
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * The programs are linked with nginx's own strings and pools; this is what
 * those need, and a malloc() that can fail.
 */


#include "test.h"


volatile ngx_cycle_t  *ngx_cycle;
ngx_uint_t             test_malloc_fails;


void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


void *
__wrap_malloc(size_t size)
{
    if (test_malloc_fails && --test_malloc_fails == 0) {
        return NULL;
    }

    return __real_malloc(size);
}
